"""Images as tensors: what a data set is, and how one is loaded."""

from functools import lru_cache
from pathlib import Path

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.registry import dataset_loader
from dbviz_ray.datasets.dataset import Dataset, check_complete
from dbviz_ray.datasets.draws import SPLITS, DatasetFacts, check_fields, given_labels, sizes_of, with_held_out
from dbviz_ray.errors import UserError, one_line

__all__ = ["Dataset", "DatasetFacts", "facts_of_dataset", "given_labels", "load_dataset", "sizes_of"]


@lru_cache(maxsize=4)
def load_dataset(config: DatasetConfig, directory: str) -> Dataset:
    """The data set that `config` names, loaded once per process; downloads are kept in `directory`.

    Raises UserError if its files are missing and cannot be downloaded, or if the loaded data set is not usable.
    """
    check_fields(config)
    loader = dataset_loader(config.name)
    try:
        dataset: Dataset = loader(config, Path(directory).expanduser())
    except UserError:
        raise
    except Exception as error:  # a user's own code may raise anything
        reason = f"cannot be loaded: {one_line(error, with_type=True)}"
        raise UserError("dataset.name", config.name, reason=reason) from error
    try:
        check_complete(dataset)
    except (TypeError, ValueError) as error:
        raise UserError("dataset.name", config.name, reason=f"is not usable: {one_line(error)}") from None
    for split in SPLITS:
        size, loaded = getattr(config, f"{split}_size"), len(dataset.split(split)[1])
        if size not in (None, loaded):
            reason = f"is not allowed: the loader {config.name} ignores it and returns {loaded}"
            raise UserError(f"dataset.{split}_size", size, reason=reason, allowed="unset")
    return with_held_out(config, dataset)


def facts_of_dataset(config: DatasetConfig, data_directory: str) -> DatasetFacts:
    """Sizes of the data set that `config` names; it is loaded only if they are not known otherwise."""
    if facts := sizes_of(config):
        return facts
    loaded = load_dataset(config, data_directory)
    return DatasetFacts(loaded.image_shape, len(loaded.class_names), len(loaded.train_labels), len(loaded.test_labels))

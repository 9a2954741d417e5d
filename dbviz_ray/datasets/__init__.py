"""Images as tensors: what a data set is, and how one is loaded."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets.checks import check_complete
from dbviz_ray.datasets.dataset import Dataset
from dbviz_ray.datasets.fields import check_fields
from dbviz_ray.datasets.held_out import with_held_out
from dbviz_ray.datasets.label_noise import given_labels, noisy_labels
from dbviz_ray.datasets.sizes import sizes_of
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.registry import dataset_loader

__all__ = ["Dataset", "given_labels", "load_dataset", "noisy_labels", "sizes_of"]


def load_dataset(config: DatasetConfig, directory: str) -> Dataset:
    """The data set that `config` names, loaded once per process; downloads are kept in `directory`.

    Raises UserError if its files are missing and cannot be had, or if they or its loader give no usable data set.
    """
    return _load(config, Path(directory).expanduser())


@lru_cache(maxsize=4)
def _load(config: DatasetConfig, directory: Path) -> Dataset:
    check_fields(config)
    loader = dataset_loader(config.name)
    try:
        dataset: Dataset = loader(config, directory)
    except UserError:
        raise
    except Exception as error:  # a user's own code may raise anything
        reason = one_line(error, with_type=True)
        raise UserError(f"dataset.name: {config.name} cannot be loaded: {reason}") from error
    try:
        check_complete(dataset)
    except (TypeError, ValueError) as error:
        raise UserError(f"dataset.name: {config.name} is not usable: {one_line(error)}") from None
    _check_kept(config, dataset)
    return with_held_out(dataset, config)


def _check_kept(config: DatasetConfig, dataset: Dataset) -> None:
    for split in ("train", "test"):
        asked, loaded = getattr(config, f"{split}_size"), len(dataset.split(split)[1])
        if asked not in (None, loaded):
            raise UserError(
                f"dataset.{split}_size: {asked} is not allowed: the loader {config.name} gives {loaded} whatever is "
                "asked for; allowed: unset"
            )

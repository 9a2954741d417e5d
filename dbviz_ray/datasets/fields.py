"""Which fields of a data set's configuration go together."""

from __future__ import annotations

from dbviz_ray.config import DatasetConfig
from dbviz_ray.errors import UserError
from dbviz_ray.registry import DATASETS


def check_fields(config: DatasetConfig) -> None:
    """UserError if a field is set that the data set does not use, or is not set and must be."""
    if config.held_out is not None and config.test_size is not None:
        raise UserError(
            f"dataset.test_size: {config.test_size} is not allowed with held_out={config.held_out}, whose images "
            "replace the test images; allowed: unset"
        )
    if config.name == "image_folder":
        if config.folder is None:
            raise UserError(
                "dataset.folder: unset is not allowed with image_folder; allowed: a folder that holds train/CLASS/* "
                "and test/CLASS/*"
            )
    elif config.name in DATASETS:
        for name in ("folder", "image_size"):
            value = getattr(config, name)
            if value is not None:
                raise UserError(f"dataset.{name}: {value} is not allowed with {config.name}; allowed: unset")

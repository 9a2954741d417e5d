"""Keeping a part of a split, drawn once by its seed."""

from __future__ import annotations

import torch

from dbviz_ray.config import DatasetConfig
from dbviz_ray.errors import UserError
from dbviz_ray.seeds import numpy_generator


def kept_indices(config: DatasetConfig, split: str, available: int, size: int | None) -> torch.Tensor:
    """Indices, ascending, of the `size` images of a split that are kept; all of them if `size` is None."""
    if size is None:
        return torch.arange(available)
    if size > available:
        raise UserError(f"dataset.{split}_size: {size} is not allowed: {config.name} has {available} images left")
    chosen = numpy_generator("split", config.split_seed, ("train", "test").index(split)).permutation(available)
    return torch.from_numpy(chosen[:size]).sort().values

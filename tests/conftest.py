"""Small models and data that many tests share."""

from __future__ import annotations

import pytest
import torch

from dbviz_ray.config import SweepConfig
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.sweep_files import checked_sweep

torch.set_num_threads(1)


def small_sweep(**fields: object) -> SweepConfig:
    """A digits sweep of two widths, two noise levels and three seeds, with some fields replaced."""
    base: dict[str, object] = {
        "name": "small",
        "dataset": {"name": "digits", "train_size": 200, "test_size": 100},
        "grid": {"width": [4, 16], "label_noise": [0.0, 0.2], "seed": [0, 1, 2]},
        "training": {"epochs": 3, "batch_size": 64},
        "planes": {"test": {"count": 6, "resolution": 12}},
    }
    return checked_sweep(base | fields)


@pytest.fixture
def sweep() -> SweepConfig:
    return small_sweep()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset(small_sweep().dataset, "unused")


@pytest.fixture(scope="session")
def cpu() -> torch.device:
    return torch.device("cpu")

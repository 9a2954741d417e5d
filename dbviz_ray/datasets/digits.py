"""The 1,797 handwritten digits that ship inside scikit-learn: real 8x8 images, no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998 (its test part).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets.dataset import Dataset
from dbviz_ray.errors import UserError

TOTAL = 1797
DEFAULT_TRAIN_SIZE = 1000


def split_sizes(config: DatasetConfig) -> tuple[int, int]:
    """Training and test images. UserError if digits has too few images."""
    train_size = config.train_size or DEFAULT_TRAIN_SIZE
    test_size = config.test_size or max(TOTAL - train_size, 2)
    if train_size + test_size > TOTAL:
        reason = f"with {test_size} test images is not allowed: digits has {TOTAL} images"
        raise UserError("dataset.train_size", train_size, reason=reason)
    return train_size, test_size


def load_digits(config: DatasetConfig, directory: Path) -> Dataset:
    """`train_size` images (default: 1,000) and `test_size` others (default: the rest)."""
    from sklearn.datasets import load_digits as bundled_digits

    bunch = bundled_digits()
    train_size, test_size = split_sizes(config)
    shuffled = numpy_generator("split", config.split_seed).permutation(TOTAL)
    images = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    train = torch.from_numpy(shuffled[:train_size])
    test = torch.from_numpy(shuffled[train_size : train_size + test_size])
    splits = images[train], labels[train], images[test], labels[test]
    return Dataset(*splits, tuple("0123456789"), mean=(0.0,), deviation=(1.0,), pixel_range=16.0)

"""Named random streams.

Every random draw belongs to a stream with a name ("init", "order", "augmentation", "mixing", "attack", "dropout",
"label_noise", "planes", "off_manifold", "margins", "split") and is addressed by the stream's seed and, where it
repeats, a counter such as the epoch. No draw depends on an earlier one: epoch 7 draws its data order without those of
epochs 0 to 6. So a resumed training equals an uninterrupted one.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derived_seed(stream: str, seed: int, *counters: int) -> int:
    """A 63-bit seed for one draw of one stream; different arguments give unrelated seeds."""
    address = "/".join([stream, str(seed), *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest()) >> 1


def torch_generator(device: torch.device | str, stream: str, seed: int, *counters: int) -> torch.Generator:
    """A torch generator on `device` for one draw of one stream."""
    return torch.Generator(device).manual_seed(derived_seed(stream, seed, *counters))


def numpy_generator(stream: str, seed: int, *counters: int) -> np.random.Generator:
    """A numpy generator for one draw of one stream."""
    return np.random.default_rng(derived_seed(stream, seed, *counters))

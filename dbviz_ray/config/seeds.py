"""Named random streams.

Every random draw belongs to a stream with a name ("init", "order", "augmentation", "mixing", "attack", "dropout",
"label_noise", "train_set", "forward", "planes", "off_manifold", "margins", "split", "peaks") and is addressed by its
seed and, where it repeats, a counter such as the epoch. No draw depends on an earlier one, so a resumed training equals
an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch  # the analysis needs none


def derived_seed(stream: str, seed: int, *counters: int) -> int:
    """A 63-bit seed for one draw of one stream; different arguments give unrelated seeds."""
    address = "/".join([stream, str(seed), *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest()) >> 1


def torch_generator(device: torch.device | str, stream: str, seed: int, *counters: int) -> torch.Generator:
    """A torch generator on `device` for one draw of one stream."""
    import torch

    return torch.Generator(device).manual_seed(derived_seed(stream, seed, *counters))


def numpy_generator(stream: str, seed: int, *counters: int) -> np.random.Generator:
    """A numpy generator for one draw of one stream."""
    return np.random.default_rng(derived_seed(stream, seed, *counters))


def train_set(images: int, seed: int | None) -> NDArray[np.int64]:
    """The training images that a model is trained on: `[images]`, their places in the training split.

    A bootstrap: `images` draws with replacement, which leave out 37 % of a large set; without a seed, each once.
    """
    return np.arange(images) if seed is None else numpy_generator("train_set", seed).integers(images, size=images)


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[Callable[[], bool]]:
    """Python's, numpy's and torch's global generators draw from this seed; afterwards they are where they were.

    Gives a function that tells whether anything was drawn.
    """
    import torch

    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # Without an accelerator, torch.manual_seed would format a stack trace for each kind that might still come.
        seeded = torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed
        seeded(seed)
        start = _places(device)
        try:
            yield lambda: _places(device) != start
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def _places(device: torch.device) -> list[Any]:
    """Where the global generators are."""
    import torch

    of_torch = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])
    _, keys, *of_numpy = np.random.get_state(legacy=True)
    return [random.getstate(), np.asarray(keys).tobytes(), of_numpy, *(state.numpy().tobytes() for state in of_torch)]

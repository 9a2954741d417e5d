"""How much memory is allocated: counted operation by operation, or as the whole process measured it."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Result = TypeVar("Result")
PROCESS = Path("/proc/self")
FORGET_PEAK = "5"
"""What Linux takes at /proc/self/clear_refs for "let the peak be what is resident now"."""


class AllocationCounter(TorchDispatchMode):
    """Counts the bytes of what operations allocate on devices of one type while it is active; nothing else is changed.

    On torch's meta device nothing is computed, and the counts are those of any other device. What an operation takes
    for itself while it runs is not seen.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self.live = 0
        """Bytes that were allocated since the start and are still in use."""
        self.peak = 0
        """The most that was in use at a time."""
        self._device_type = device_type
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # What the inputs are views of was there before, or was counted when it was made.
        known = {_storage(tensor)._cdata for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(_storage(tensor), known)
        return result

    def _count(self, storage: torch.UntypedStorage, known: set[int]) -> None:
        key = storage._cdata
        # A tensor that is only traced claims the device that it would be on; its storage is of the meta device.
        if key in known or key in self._sizes or storage.device.type != self._device_type:
            return
        self._sizes[key] = storage.nbytes()
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


def reset_peak_memory() -> None:
    """Let `peak_memory` say what was used from now on; of host memory on Linux alone.

    What an earlier cohort of the same process has left resident counts, as it is not always given back to the system.
    """
    gc.collect()
    with contextlib.suppress(OSError):  # another system, or one that forbids it: the peak is of the whole process
        (PROCESS / "clear_refs").write_text(FORGET_PEAK)
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, int]:
    """The most memory that this process had resident, and where it used CUDA, that its tensors took; in bytes."""
    measured = {"peak_memory_bytes": _peak_resident()}
    if torch.cuda.is_initialized():
        measured["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    return measured


def _peak_resident() -> int:
    """The kernel's own high-water mark, which can be reset, or what getrusage says, which cannot."""
    try:
        lines = (PROCESS / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def within_memory(attempt: Callable[[int], Result], batch: int) -> Result:
    """`attempt(batch)`, again with half the batch as long as that does not fit into the memory and less might."""
    while True:
        try:
            return attempt(batch)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        batch //= 2

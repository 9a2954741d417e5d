"""Memory: what operations allocate, what the process uses at most, and smaller batches when it runs out."""

import contextlib
import ctypes
import gc
import resource
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dbviz_ray.errors import one_line

Result = TypeVar("Result")
PROCESS = Path("/proc/self")
WORKER_ENVIRONMENT = {
    # glibc gives large blocks back to the system at every free and faults them in again at every allocation;
    # kept, training a cohort of width-512 networks takes 19 s instead of 25 s (2026-11-22, EPYC 9005, one core).
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "67108864",
}

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")
"""In messages of CUDA (a torch.AcceleratorError), of torch on a CPU, and of cuBLAS and cuDNN."""
MALLOPT = {"MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_TOP_PAD_": -2, "MALLOC_MMAP_THRESHOLD_": -3}  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Do in this process what `WORKER_ENVIRONMENT` does in a new one; without glibc nothing."""
    _tell_glibc(WORKER_ENVIRONMENT)


def give_back_freed_memory() -> None:
    """Let glibc give each large block back to the system when it is freed.

    By default it soon keeps blocks of up to 32 MB. The scores of 4,000 trainings on 42 planes then take 0.43 GB instead
    of 0.26. But the analysis and the report of the digits sweep take 15 s instead of 18 (2026-12-01, AMD EPYC).
    """
    _tell_glibc({"MALLOC_MMAP_THRESHOLD_": "1048576"})


def _tell_glibc(settings: Mapping[str, str]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        for name, value in settings.items():
            ctypes.CDLL(None).mallopt(MALLOPT[name], int(value))


class LightDispatchMode(TorchDispatchMode):
    """A TorchDispatchMode for which torch does not import its compiler."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class AllocationCounter(LightDispatchMode):
    """Counts the bytes that operations allocate on devices of one type while it is active.

    torch's meta device computes nothing and gives the same counts. The counter does not see memory that an operation
    uses only while it runs.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self.live = 0
        """Bytes allocated since the start that are still in use."""
        self.peak = 0
        """The largest value of `live`."""
        self._device_type = device_type
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # The inputs' storage existed before or was counted when it was made.
        known = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            key = storage._cdata
            # A traced tensor names the device it would be on; its storage is on the meta device.
            if key not in known and key not in self._sizes and storage.device.type == self._device_type:
                self._sizes[key] = storage.nbytes()
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._freed, key)
        return result

    def _freed(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def reset_peak_memory() -> None:
    """Make `peak_memory` count from now on; for host memory on Linux only.

    Memory of an earlier cohort counts if the process has not given it back to the system.
    """
    gc.collect()
    gc.freeze()  # all that lives now are libraries; to look through them again takes 0.2 s a cohort
    with contextlib.suppress(OSError):  # not Linux, or not permitted: the peak stays that of the whole process
        (PROCESS / "clear_refs").write_text("5")  # the code for setting the peak to what is resident now
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, int]:
    """Peak resident bytes of this process and, if it uses CUDA, peak bytes of its tensors."""
    try:  # the kernel's high-water mark, which can be reset, or else the one of getrusage, which cannot
        lines = (PROCESS / "status").read_text().splitlines()
        peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if not torch.cuda.is_initialized():
        return {"peak_memory_bytes": peak}
    return {"peak_memory_bytes": peak, "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated()}


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch, CUDA, its libraries and the host say so in different ways."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Raise torch.OutOfMemoryError for every error inside that says that memory ran out."""
    try:
        yield
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError) or not lacks_memory(error):
            raise
        raise torch.OutOfMemoryError(one_line(error)) from error


def within_memory(attempt: Callable[[int], Result], batch: int) -> Result:
    """`attempt(batch)`; when it runs out of memory, again with half the batch, down to 1."""
    while True:
        try:
            with memory_errors():
                return attempt(batch)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        batch //= 2

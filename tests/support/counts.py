"""What a captured training step does on a GPU, counted without one: kernels, bytes, floating-point operations."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.execution import Eager
from dbviz_ray.training.gradients import IMAGES, LABELS
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.states import lay_out_channels_last

aten = torch.ops.aten
BATCH, IMAGE, CLASSES = 128, (3, 32, 32), 10
"""As in the double descent of CIFAR-10."""


class Kernel(NamedTuple):
    """One launch."""

    moved: int
    """Bytes: every input is read once and every output written once, wherever it lies."""
    flops: float = 0.0
    """Of matrix products and convolutions; those of others are hidden behind their bytes."""


class Kernels(TorchDispatchMode):
    """Notes the kernels of all operations in its block. Views launch none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Kernel] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name, outputs = func.overloadpacket.__name__, tree_leaves(result)
        if func.is_view or name.startswith(("_unsafe_view", "empty", "new_empty", "device")):
            return result
        inputs = tree_leaves([args[1:] if func is aten.copy_.default else args, {**kwargs, "out": None}])
        read, written = (list({id(t): t for t in of if isinstance(t, Tensor)}.values()) for of in (inputs, outputs))
        flops = flops_of(name, [tensor.shape for tensor in read], [tensor.shape for tensor in written])
        self.found += kernels_of(name, [*map(bytes_of, read)], [*map(bytes_of, written)], flops)
        return result


def bytes_of(tensor: Tensor) -> int:
    """Expanded dimensions are no memory."""
    shape = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return torch.Size(shape).numel() * tensor.element_size()


def flops_of(name: str, read: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> float:
    """Of convolutions and matrix products, from shapes.

    `torch.utils.flop_counter` counts too many for the gradients of grouped convolutions.
    """
    if name == "convolution":
        return 2.0 * math.prod(written[0]) * math.prod(read[1][1:])
    if name == "convolution_backward":
        return 2.0 * math.prod(read[0]) * math.prod(read[2][1:]) * len(written)
    return 2.0 * math.prod(written[0]) * read[-1][-2] if name in ("mm", "bmm", "addmm") else 0.0


def kernels_of(name: str, read: Sequence[int], written: Sequence[int], flops: float) -> list[Kernel]:
    """The kernels of one operation that reads and writes so many bytes.

    Gradients of a convolution's input and weight are two kernels, which read the output's gradient both. Batch norm
    needs its statistics, or their gradients, of the whole batch before it writes.
    """
    moved = sum(read) + sum(written)
    if name == "convolution_backward" and len(written) == 2:
        return [Kernel((moved + read[0]) // 2, flops / 2)] * 2
    if name == "native_batch_norm":
        return [Kernel(read[0]), Kernel(moved)]
    if name == "native_batch_norm_backward":
        return [Kernel(read[0] + read[1]), Kernel(moved)]
    return [Kernel(moved, flops)]


class Counted(Eager):
    """Runs steps on shapes alone, and counts what a CUDA graph of them would do."""

    def __init__(self) -> None:
        super().__init__()
        self.step: Any = None
        """The captured step of the first members, with its inputs."""
        self.within: list[Kernel] = []
        """Kernels of the captured steps."""
        self.all: list[Kernel] = []
        """These kernels, and those that copy inputs and results."""

    def captured(self, *arguments: Any) -> Any:
        """The captured step, which also notes its kernels."""
        captured = super().captured(*arguments)

        def step(*inputs: Any) -> Any:
            self.step = captured, inputs
            with Kernels() as kernels:
                results = captured(*inputs)
            self.within += kernels.found
            return results

        return step

    def prepared(self, parts: Any, batch: Any) -> Any:
        """Counts, with the copies of the batch and of the logits around a CUDA graph."""
        with FakeTensorMode(allow_non_fake_inputs=True):
            run = super().prepared(parts, batch)
            self.within.clear()
            with Kernels() as kernels:
                run({name: tensor.clone() for name, tensor in batch.items()})[1].clone()
        self.all = kernels.found
        return run


def counted_step(width: int, members: int, stack: int | None = None) -> Counted:
    """The step of a cohort of ResNet-18s that are computed `stack` at a time, as on a GPU.

    It is captured for a CPU with the memory layouts for a GPU: autograd asks the driver about tensors of GPUs, even
    about those without numbers.
    """
    networks = [initialised_network("resnet18_width", width, IMAGE, CLASSES) for _ in range(members)]
    settings, counted = TrainingConfig(precision="bfloat16", optimizer="adam", batch_size=BATCH), Counted()
    limits = torch.zeros(3, *(1,) * len(IMAGE))
    cohort = CohortNetwork(networks, settings, limits, networks.__getitem__, execution=counted, verifies=False)
    lay_out_channels_last(cohort, networks[0])
    cohort.restack(stack or members)
    images, labels = torch.zeros(members, BATCH, *IMAGE), torch.zeros(members, BATCH, dtype=torch.int64)
    cohort.prepare({IMAGES: images, LABELS: labels})
    return counted

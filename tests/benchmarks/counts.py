"""What does a training step of a ResNet-18 do on a GPU, and how long must it take? Counted and computed without a GPU.

    python tests/benchmarks/counts.py [--widths 1,4,16,64] [--out FILE]

Unfused are the operations of today's CUDA graph, each with its own kernel (`tests/support/counts.py`). Fused are the
kernels that Inductor's scheduler leaves for an H100: it runs here on tensors without numbers and stops before Triton.
Around the step come the copies of the batch and of the logits, and Adam, which reads four and writes three numbers for
each parameter. A kernel takes the longest of its launch in a graph, its bytes and its operations at measured rates.
The hours are those of sweeps/double_descent.yaml, with lines between the widths.

The time is a bound, not a forecast. It leaves out: convolutions of few channels or many groups, which use a small part
of the matrix units or pad their channels; kernels too small to fill the GPU; second reads of an input, which may also
come from the cache; what runs beside another kernel; drawing and augmenting batches; evaluations; the host.
"""

import itertools
import math
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from support.counts import BATCH, CLASSES, IMAGE, Counted, Kernel, counted_step, flops_of, kernels_of
from timing import markdown, parser_of, report
from torch._dynamo.device_interface import CudaInterface
from torch._guards import TracingContext, tracing
from torch._inductor import compile_fx, config, ir, scheduler
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config.sweep_files import load_sweep

FLOPS, BANDWIDTH, LAUNCH = 798e12, 3.0e12, 1.5e-6
"""Of an H100: bfloat16 operations and bytes a second, as measured; seconds between two kernels of a CUDA graph."""
WAYS = "unfused", "fused"
SEEDS = {4: [0, 1], 6: [0, 1, 2]}
"""Trainings of a width, by the members of a cohort, with and without label noise: the paper's two, and our three."""
H100 = SimpleNamespace(
    **{"type": "cuda", "index": 0, "name": "H100", "major": 9, "minor": 0, "multi_processor_count": 132},
    **{"warp_size": 32, "max_threads_per_block": 1024, "max_threads_per_multi_processor": 2048},
    **{"regs_per_multiprocessor": 65536, "shared_memory_per_block_optin": 232448, "L2_cache_size": 50 << 20},
    **{"total_memory": 80 << 30, "gcnArchName": ""},
)


def main() -> None:
    """Print Markdown tables, and append them to `--out`."""
    chosen = parser_of(__doc__, widths=[1, 4, 16, 64]).parse_args()
    widths = chosen.widths
    rows: list[list[str]] = []
    bounds: dict[tuple[str, int], list[float]] = {}
    """Of a step, in seconds a model, by way and stack, for each width."""
    for width, stack in itertools.product(widths, (1, *SEEDS)):
        row = [str(width), str(stack)]
        for way, kernels in zip(WAYS, kernels_of_step(width, stack), strict=True):
            moved, flops = sum(kernel.moved for kernel in kernels), sum(kernel.flops for kernel in kernels)
            bound = sum(max(LAUNCH, kernel.moved / BANDWIDTH, kernel.flops / FLOPS) for kernel in kernels) / stack
            row += [str(len(kernels)), f"{moved / 1e6:,.0f}", f"{flops / 1e9:,.1f}", f"{1e6 * bound:,.0f}"]
            bounds.setdefault((way, stack), []).append(bound)
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    head = [f"{way}: {what}" for way in WAYS for what in ("kernels", "MB", "GFLOP", "us a model")]
    sweeps = {members: load_sweep("double_descent", [f"grid.seed={seeds}"]) for members, seeds in SEEDS.items()}
    hours = []
    for members, sweep in sweeps.items():
        for stack in (members, 1):
            row = [f"{members // 2}", str(stack)]
            for way in WAYS:
                of = [np.interp(model.width, widths, bounds[way, stack]) for model in sweep.models()]
                row.append(f"{sum(of) * sweep.training.epochs * -(-50_000 // BATCH) / 3600:.1f}")
            hours.append(row)
    parts = [
        f"ResNet-18, CIFAR-10, batches of {BATCH}, bfloat16, Adam; a step of a stack of models.",
        markdown(["width", "stack", *head], rows),
        "GPU-hours of sweeps/double_descent.yaml by this bound, training alone:",
        markdown(["trainings of a width", "stack", *WAYS], hours),
    ]
    report("Counts of a step on a GPU", parts, chosen.out)


def kernels_of_step(width: int, members: int) -> tuple[list[Kernel], list[Kernel]]:
    """The kernels of a step of a stack, unfused and fused, with what is done around it."""
    counted = counted_step(width, members)
    network = initialised_network("resnet18_width", width, IMAGE, CLASSES)
    adam = Kernel(7 * 4 * members * sum(parameter.numel() for parameter in network.parameters()))
    around = [*(Counter(counted.all) - Counter(counted.within)).elements(), adam]
    return around + counted.within, around + fused(counted)


class _EnoughError(Exception):
    """The scheduler has done what was asked."""


def fused(counted: Counted) -> list[Kernel]:
    """The kernels that Inductor leaves of a captured step, by the rules for an H100 with Triton."""
    step, inputs = counted.step
    for node in step.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": torch.device("cuda", 0)}
    step.recompile()
    flat, spec = tree_flatten(inputs)
    mode, found = FakeTensorMode(allow_non_fake_inputs=True), list[Kernel]()
    with mode:
        shapes = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cuda") for t in flat]

    def on_gpu(*tensors: Any) -> tuple[Any, ...]:
        return tuple(tree_leaves(step(*tree_unflatten(list(tensors), spec))))

    def note(self: Any) -> None:
        for node in self.nodes:
            found.extend(kernels_left(node))
        raise _EnoughError

    pretended: list[tuple[Any, str, Any]] = [
        (torch.cuda, "get_device_capability", lambda *_: (9, 0)),
        (compile_fx, "_check_triton_bf16_support", lambda _: None),
        (scheduler, "has_triton", lambda *_: True),
        (scheduler.Scheduler, "codegen", note),
    ]
    for place in (torch.cuda, CudaInterface, CudaInterface.Worker):
        pretended += [(place, "get_device_properties", lambda *_: H100), (place, "current_device", lambda: 0)]
    with ExitStack() as stack:
        for place, name, value in pretended:
            stack.enter_context(patch.object(place, name, value))
        stack.enter_context(config.patch(joint_graph_constant_folding=False, fx_graph_cache=False, compile_threads=1))
        with mode:
            graph = make_fx(on_gpu, tracing_mode="fake", _allow_non_fake_inputs=True)(*shapes)
        stack.enter_context(tracing(TracingContext(mode)))
        stack.enter_context(torch.no_grad())
        try:
            compile_fx.compile_fx(graph, shapes)
        except Exception:
            if not found:
                raise
    return found


def kernels_left(node: Any) -> list[Kernel]:
    """Of one node of the scheduler."""
    first, moved = node.get_nodes()[0].node, node.get_read_write_buffers_sizes()
    if isinstance(node, scheduler.NopKernelSchedulerNode) or isinstance(first, ir.MultiOutput):
        return []
    if not isinstance(node, scheduler.ExternKernelSchedulerNode):
        return [Kernel(moved)]
    name = first.op_overload.overloadpacket.__name__
    read = [[int(size) for size in buffer.get_size()] for buffer in first.inputs]
    several = isinstance(first.layout, ir.MultiOutputLayout)
    written = [[0]] * len(node.get_outputs()[0].users) if several else [[int(size) for size in first.get_size()]]
    sizes = [math.prod(shape) * buffer.get_dtype().itemsize for shape, buffer in zip(read, first.inputs, strict=True)]
    of_each = [(moved - sum(sizes)) // len(written)] * len(written)
    return kernels_of(name, sizes, of_each, flops_of(name, read, written))


if __name__ == "__main__":
    main()

"""What does a training step of a ResNet-18 do on a GPU, and how long must it take? Counted and computed without a GPU.

    python tests/benchmarks/counts.py [--widths 4,16,64] [--members 1,4,8] [--sweep 1,4,16,64] [--out FILE]

Unfused are the operations of today's CUDA graph, each with its own kernel (`tests/support/counts.py`). Fused are the
kernels that Inductor's scheduler leaves for an H100: it runs here on tensors without numbers and stops before Triton.
Combined are those with its option `combo_kernels`, which puts small independent ones into one launch.
Around the step come the copies of the batch and of the logits, and Adam, which reads four and writes three numbers for
each parameter. A kernel takes the longest of its launch in a graph, its bytes and its operations at measured rates.

The time is a bound, not a forecast. It leaves out: convolutions of few channels or many groups, which use a small part
of the matrix units or pad their channels; kernels too small to fill the GPU; second reads of an input, which may also
come from the cache; what runs beside another kernel; drawing and augmenting batches; evaluations; the host.
"""

import itertools
import math
import sys
from collections import Counter
from contextlib import ExitStack
from functools import cache
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
WAYS = "unfused", "fused", "combined"
H100 = SimpleNamespace(
    **{"type": "cuda", "index": 0, "name": "H100", "major": 9, "minor": 0, "multi_processor_count": 132},
    **{"warp_size": 32, "max_threads_per_block": 1024, "max_threads_per_multi_processor": 2048},
    **{"regs_per_multiprocessor": 65536, "shared_memory_per_block_optin": 232448, "L2_cache_size": 50 << 20},
    **{"total_memory": 80 << 30, "gcnArchName": ""},
)
COPIES = {
    *("convert_element_type", "clone", "copy_", "reshape", "permute", "unsqueeze", "squeeze", "select", "expand"),
    *("convolution", "convolution_backward"),  # in front of which a copy changes the memory layout
}


def main() -> None:
    """Print Markdown tables, and append them to `--out`."""
    parser = parser_of(__doc__)
    parser.add_argument("--widths", default="4,16,64")
    parser.add_argument("--members", default="1,4,8")
    parser.add_argument("--sweep", default="1,4,16,64")
    chosen = parser.parse_args()
    widths, members, sweep = (
        [int(n) for n in text.split(",")] for text in (chosen.widths, chosen.members, chosen.sweep)
    )
    rows: list[list[str]] = []
    kinds: dict[int, list[list[Kernel]]] = {}
    for width in widths:
        for count in members:
            ways = [kernels_of_step(width, count, way) for way in WAYS[:2]]
            rows.append([str(width), str(count), *itertools.chain(*(told(kernels, count) for kernels in ways))])
            kinds[width] = ways
    head = [
        "width",
        "stack",
        *(f"{way}: {what}" for way in WAYS[:2] for what in ("kernels", "MB", "GFLOP", "us a model")),
    ]
    parts = [
        f"ResNet-18, CIFAR-10, batches of {BATCH}, bfloat16, Adam; a step of a stack of models.",
        markdown(head, rows),
        f"Megabytes by kind of kernel, of {members[-1]} models as one:",
        kinds_table(kinds),
        "GPU-hours of sweeps/double_descent.yaml by this bound, training alone, its cohorts of 6 models:",
        sweep_table(sweep),
    ]
    report("Counts of a step on a GPU", parts, chosen.out)


@cache
def kernels_of_step(width: int, members: int, way: str) -> list[Kernel]:
    """The kernels of a step of a stack in one of `WAYS`, with what is done around it."""
    print(f"width {width}, {members} members, {way}", file=sys.stderr, flush=True)
    counted = counted_step(width, members)
    network = initialised_network("resnet18_width", width, IMAGE, CLASSES)
    parameters = members * sum(parameter.numel() for parameter in network.parameters())
    around = [*(Counter(counted.all) - Counter(counted.within)).elements(), Kernel("Adam", 7 * 4 * parameters)]
    return around + (counted.within if way == "unfused" else fused(counted, combine=way == "combined"))


def seconds(kernels: list[Kernel]) -> float:
    """The least time of these kernels, one after the other."""
    return sum(max(LAUNCH, kernel.moved / BANDWIDTH, kernel.flops / FLOPS) for kernel in kernels)


def told(kernels: list[Kernel], members: int) -> list[str]:
    """Kernels, megabytes, operations, and microseconds a model."""
    moved, flops = sum(kernel.moved for kernel in kernels), sum(kernel.flops for kernel in kernels)
    return [str(len(kernels)), f"{moved / 1e6:,.0f}", f"{flops / 1e9:,.1f}", f"{1e6 * seconds(kernels) / members:,.0f}"]


def kinds_table(kinds: dict[int, list[list[Kernel]]]) -> str:
    """Megabytes and numbers of kernels by kind, unfused and fused, for each width."""
    sums: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}
    for (width, ways), way in itertools.product(kinds.items(), (0, 1)):
        moved, numbers = Counter[str](), Counter[str]()
        for kernel in ways[way]:
            moved[kernel.name] += kernel.moved
            numbers[kernel.name] += 1
        for name, size in moved.items():
            sums.setdefault(name, {})[width, way] = size, numbers[name]
    columns = list(itertools.product(kinds, (0, 1)))
    head = ["kind", *(f"width {width}" + ", fused" * way for width, way in columns)]
    order = sorted(sums, key=lambda name: -max(size for size, _ in sums[name].values()))[:13]
    cells = {
        name: [f"{of[c][0] / 1e6:,.1f} ({of[c][1]})" if c in of else "" for c in columns] for name, of in sums.items()
    }
    return markdown(head, [[name, *cells[name]] for name in order])


def sweep_table(widths: list[int]) -> str:
    """Hours of the whole sweep: steps of the counted widths, and of those between by interpolation."""
    cohorts = load_sweep("double_descent").cohorts()
    times: dict[str, list[float]] = {}
    size = len(cohorts[0].models)
    for width in widths:
        for stack in (size, 1):
            for way in WAYS:
                bound = size / stack * seconds(kernels_of_step(width, stack, way))
                times.setdefault(f"{way}, stack {stack}", []).append(bound)
    times["the faster of each"] = np.min([*times.values()], axis=0).tolist()
    rows = []
    for name, of_widths in times.items():
        hours = 0.0
        for cohort in cohorts:
            steps = cohort.models[0].training.epochs * -(-50_000 // BATCH)
            hours += steps * float(np.interp(cohort.models[0].width, widths, of_widths)) / 3600
        rows.append([name, f"{hours:.1f}", *(f"{1e3 * t:.2f}" for t in of_widths)])
    return markdown(["way", "GPU-hours", *(f"ms at width {width}" for width in widths)], rows)


class _EnoughError(Exception):
    """The scheduler has done what was asked."""


def fused(counted: Counted, *, combine: bool = False) -> list[Kernel]:
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
        *(
            (place, "get_device_properties", lambda *_: H100)
            for place in (torch.cuda, CudaInterface, CudaInterface.Worker)
        ),
        *((place, "current_device", lambda: 0) for place in (torch.cuda, CudaInterface, CudaInterface.Worker)),
        (torch.cuda, "get_device_capability", lambda *_: (9, 0)),
        (compile_fx, "_check_triton_bf16_support", lambda _: None),
        (scheduler, "has_triton", lambda *_: True),
        (scheduler.Scheduler, "codegen", note),
    ]
    with ExitStack() as stack:
        for place, name, value in pretended:
            stack.enter_context(patch.object(place, name, value))
        stack.enter_context(
            config.patch(
                joint_graph_constant_folding=False, combo_kernels=combine, fx_graph_cache=False, compile_threads=1
            )
        )
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
        origins = {str(of.target).split(".")[-2] for part in node.get_nodes() for of in part.node.get_origins()}
        kind = "reduction" if node.is_reduction() else "cast or copy" if origins <= COPIES else "elementwise"
        return [Kernel(f"fused {kind}", moved)]
    name = first.op_overload.overloadpacket.__name__
    read = [[int(size) for size in buffer.get_size()] for buffer in first.inputs]
    several = isinstance(first.layout, ir.MultiOutputLayout)
    written = [[0]] * len(node.get_outputs()[0].users) if several else [[int(size) for size in first.get_size()]]
    sizes = [math.prod(shape) * buffer.get_dtype().itemsize for shape, buffer in zip(read, first.inputs, strict=True)]
    of_each = [(moved - sum(sizes)) // len(written)] * len(written)
    return kernels_of(name, sizes, of_each, flops_of(name, read, written))


if __name__ == "__main__":
    main()

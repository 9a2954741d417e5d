"""How captured training steps run: one operation after the other, compiled, or as one CUDA graph.

All three give the same numbers up to rounding. `make_fx` captures the operations of the forward and backward pass.

A stacked convolution has a group for each member. Processors multiply 16 channels of bfloat16 in the time of 2, so
several members with few channels may share a group, with block-diagonal weights. The zeros between the blocks add
nothing to any sum. But zero times infinity is NaN: a member that diverges spoils the others of its group
(`CohortTraining.run_epoch` then repeats the epoch without this).
"""

import itertools
import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from dbviz_ray.training.allocations import lacks_memory
from dbviz_ray.training.gradients import IMAGES, Batch, State, Step
from dbviz_ray.training.layers import block_diagonal, diagonal_blocks, with_fast_loops

aten = torch.ops.aten
RESHAPES = {aten.view.default, aten._unsafe_view.default, aten.expand.default}
WEIGHT_CHANNELS = 16
"""The gradients of weights share groups of at least so many channels on a CPU, if members share any. On an EPYC with
AVX-512, of 8 members on 32 x 32 pixels: 2 channels take 4 instead of 16 ms, 4 take 8, 8 take 17 instead of 19."""
PLACES = {aten.convolution.default: (1, 6, 8), aten.convolution_backward.default: (2, 7, 9)}
"""The places of the weight among the arguments, of whether it is transposed, and of the number of groups."""
OF_THIS_THREAD = "thread_local"
"""What must not happen while a graph is captured, such as allocating pinned memory, may happen in other threads."""
Part = Callable[[Batch], tuple[State, Tensor]]
"""Some members' step: their gradients `[some members, ...]` by name, and logits `[some members, n, classes]`."""


class Eager:
    """One operation after the other. With `compiles`, torch.compile (Inductor) fuses elementwise ones; that takes a
    minute or more for a deep network.

    Only steps of the first size of batches are compiled, since an epoch has at most one shorter batch.
    """

    channels = 0
    """In steps that are captured from now on, members share groups of at most so many channels."""

    def __init__(self, *, compiles: bool = False) -> None:
        self.compiles = compiles
        self._size: int | None = None

    def but(self, *, compiles: bool) -> "Eager":
        """This way, with or without compiled steps."""
        other = type(self)(compiles=compiles)
        other.channels = self.channels
        return other

    def captured(self, step: Step, parameters: State, buffers: State, teachers: State, batch: Batch) -> Step:
        """`step`, captured for inputs of these shapes, and compiled if asked for.

        It is traced with shapes only: that computes nothing, saves the memory that autograd holds, half of all, and
        fails where values decide, which no list of operations can follow.
        """
        trace = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # else Module.to in a forward pass can crash
        try:
            captured = simplified(trace(parameters, buffers, teachers, batch))
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(False)
        captured = packed(captured, len(batch[IMAGES]), self.channels)
        self._size = self._size or batch[IMAGES].shape[1]
        if not self.compiles or batch[IMAGES].shape[1] != self._size:
            return captured
        return torch.compile(with_fast_loops(captured), dynamic=False)

    def prepared(self, parts: Sequence[Part], batch: Batch) -> Part:
        """One function that runs all parts, for batches of this shape; it runs once, to run out of memory here."""

        def run(batch: Batch) -> tuple[State, Tensor]:
            return _joined([part(batch) for part in parts])

        run(batch)
        return run


class CudaGraph(Eager):
    """One launch for each step; the parts run side by side on several streams.

    The graph reads and writes fixed memory: batches are copied in, and gradients stay where they were captured.
    """

    WARM_UP_STEPS = 3
    STREAMS = 4
    """The most parts that run at a time; each needs its own memory."""
    _pool: Any = None

    def prepared(self, parts: Sequence[Part], batch: Batch) -> Part:
        """One function that runs all parts, for batches of this shape.

        The graphs of one cohort share their working memory: they run one after the other, and the results of each are
        used before the next one runs.
        """
        static = {name: tensor.clone() for name, tensor in batch.items()}
        streams = [torch.cuda.Stream() for _ in parts[: self.STREAMS]]

        def side_by_side() -> tuple[State, Tensor]:
            here = torch.cuda.current_stream()
            results = []
            for stream in streams:
                stream.wait_stream(here)
            try:
                for part, stream in zip(parts, itertools.cycle(streams), strict=False):
                    with torch.cuda.stream(stream):
                        results.append(part(static))
            finally:  # a failed capture gives its reason only after all its streams have joined
                for stream in streams:
                    here.wait_stream(stream)
            return _joined(results)

        warm_up = torch.cuda.Stream()
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):
            for _ in range(self.WARM_UP_STEPS):
                side_by_side()
        torch.cuda.current_stream().wait_stream(warm_up)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode=OF_THIS_THREAD):
                gradients, logits = side_by_side()
        except RuntimeError as error:
            if lacks_memory(error):
                raise
            return super().prepared(parts, batch)  # such as an operation that waits for the device
        self._pool = graph.pool()
        return _Replayed(graph, static, FixedGradients(gradients), logits, parts)


class FixedGradients(dict[str, Tensor]):
    """Gradients whose memory never changes: a CUDA graph writes them in every step, and a second one may read them."""

    def __init__(self, gradients: State) -> None:
        super().__init__(gradients)
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def replay(self, update: Callable[[], None]) -> None:
        """Call `update`, which uses these gradients, as a graph from the second time on, if it can be captured."""
        self._calls += 1
        if self._calls == 2:
            graph = torch.cuda.CUDAGraph()
            with suppress(RuntimeError):
                with torch.cuda.graph(graph, capture_error_mode=OF_THIS_THREAD):  # this runs nothing
                    update()
                self._graph = graph
        if self._graph:
            self._graph.replay()
        else:
            update()


@dataclass(frozen=True)
class _Replayed:
    """A CUDA graph with the memory that it reads and writes, which must live as long as the graph."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    gradients: FixedGradients
    logits: Tensor
    parts: Sequence[Part]
    """They hold the captured constants."""

    def __call__(self, batch: Batch) -> tuple[State, Tensor]:
        for name, tensor in self.batch.items():
            tensor.copy_(batch[name])
        self.graph.replay()
        return self.gradients, self.logits.clone()


def _joined(results: Sequence[tuple[State, Tensor]]) -> tuple[State, Tensor]:
    if len(results) == 1:
        return results[0]
    of_parts = [gradients for gradients, _ in results]
    gradients = {name: _concatenated([own[name] for own in of_parts]) for name in of_parts[0]}
    return gradients, torch.cat([logits for _, logits in results])


def _concatenated(parts: list[Tensor]) -> Tensor:
    """`torch.cat`, which forgets the layout of channels-last weights of several members."""
    first = parts[0]
    if first.is_contiguous():
        return torch.cat(parts)
    whole = first.new_empty_strided((sum(map(len, parts)), *first.shape[1:]), first.stride())
    return torch.cat(parts, out=whole)


def execution_for(name: Literal["auto", "eager", "compiled", "cuda_graph"], device: torch.device) -> Eager:
    """The execution called `name`; auto is cuda_graph on a GPU and eager elsewhere."""
    if name == "auto":
        name = "cuda_graph" if device.type == "cuda" else "eager"
    return CudaGraph() if name == "cuda_graph" else Eager(compiles=name == "compiled")


def simplified(step: GraphModule) -> GraphModule:
    """Remove operations that change nothing and compute weight gradients as g^T x; changes `step` in place."""
    targets = [node.target for node in step.graph.nodes]
    changes_in_place = any(isinstance(of, torch._ops.OpOverload) and of._schema.is_mutable for of in targets)
    for node in list(step.graph.nodes):
        if not changes_in_place and _is_needless_copy(node):
            node.replace_all_uses_with(node.args[0])
        reshaped = node.args[0] if node.target in RESHAPES else None
        is_same = isinstance(reshaped, Node) and _shape(reshaped) == _shape(node)
        if is_same or (node.target is aten.mul.Scalar and node.args[1] == 1):
            node.replace_all_uses_with(node.args[0])
            step.graph.erase_node(node)
    for node in list(step.graph.nodes):
        _transpose_product(step, node)
    step.graph.eliminate_dead_code()
    step.recompile()
    return step


def _is_needless_copy(node: Node) -> bool:
    """Whether nobody would notice the original in place of this copy, if nothing is changed in place."""
    original = node.args[0] if node.target is aten.clone.default else None
    if not isinstance(original, Node) or any(user.op == "output" for user in node.users):
        return False
    return bool(node.meta["val"].stride() == original.meta["val"].stride())


def _transpose_product(step: GraphModule, node: Node) -> None:
    """Replace transpose(bmm(transpose(x), g)) by bmm(transpose(g), x)."""
    if not _is_matrix_transpose(node):
        return
    product = node.args[0]
    if not isinstance(product, Node) or product.target is not aten.bmm.default or len(product.users) > 1:
        return
    left, right = product.args
    if not isinstance(right, Node) or not isinstance(left, Node) or not _is_matrix_transpose(left):
        return
    with step.graph.inserting_before(node):
        turned = step.graph.call_function(aten.transpose.int, (right, 1, 2))
        better = step.graph.call_function(aten.bmm.default, (turned, left.args[0]))
        turned.meta = {"val": right.meta["val"].transpose(1, 2)}
        better.meta = node.meta
    node.replace_all_uses_with(better)


def _is_matrix_transpose(node: Node) -> bool:
    return node.target is aten.transpose.int and set(node.args[1:]) in ({1, 2}, {-1, -2}) and len(_shape(node)) == 3


def _shape(node: Node) -> torch.Size:
    return node.meta["val"].shape  # type: ignore[no-any-return]


def packed(step: GraphModule, members: int, channels: int) -> GraphModule:
    """Let members share groups of convolutions with one group for each; changes `step` in place."""
    whole: dict[tuple[Node, int], Node] = {}
    nodes: list[Any] = list(step.graph.nodes) if channels else []
    for node in nodes:
        if node.target not in PLACES:
            continue
        weight, transposed, groups = (node.args[place] for place in PLACES[node.target])
        if transposed or groups != members:
            continue
        on_cpu = weight.meta["val"].device.type == "cpu"
        for part, results in _parts(step, node, apart=on_cpu).items():
            most = max(channels, WEIGHT_CHANNELS) if results and on_cpu else channels
            together = members_of_a_group(weight.meta["val"], members, most)
            if together == 1:
                continue
            if (weight, together) not in whole:
                with step.graph.inserting_after(weight):
                    block = step.graph.call_function(block_diagonal, (weight, groups, together))
                whole[weight, together] = block
            part.update_arg(PLACES[node.target][0], whole[weight, together])
            part.update_arg(PLACES[node.target][2], groups // together)
            for result in results:
                with step.graph.inserting_after(result):
                    own = step.graph.call_function(diagonal_blocks, (result, groups, together))
                result.replace_all_uses_with(own, delete_user_cb=partial(operator.is_not, own))
    step.recompile()
    return step


def _parts(step: GraphModule, node: Any, *, apart: bool) -> dict[Node, list[Node]]:
    """A convolution, or its gradients, if `apart` that of its weight alone; with the results for the weight."""
    results = [result for result in node.users if result.args[1] == 1]
    if node.target is not aten.convolution_backward.default or not results:
        return {node: []}
    of_images, _, of_bias = node.args[10]
    if not of_images or not apart:
        return {node: results}
    with step.graph.inserting_after(node):
        other = step.graph.call_function(node.target, (*node.args[:10], [False, True, False]))
    node.update_arg(10, [True, False, of_bias])
    for result in results:
        result.update_arg(0, other)
    return {node: [], other: results}


def members_of_a_group(weight: Tensor, groups: int, most: int) -> int:
    """How many groups of a convolution with this weight, `[groups * out, in, ...]`, to compute as one of `most`
    channels."""
    if weight.dtype is not torch.bfloat16:
        return 1
    channels = max(weight.shape[1], weight.shape[0] // groups)
    return max((n for n in range(2, groups + 1) if groups % n == 0 and n * channels <= most), default=1)

"""Layers for stacked networks, whose members share a computation but not their random streams.

- Batch norm: `vmap` applies the affine part in extra passes. Folded batch norm treats the members as channels of one
  ordinary batch norm, forward and backward.
- Dropout: torch draws from one global stream. Here each member's own stream draws the mask, which comes with the batch.
- Weights of convolutions whose groups are computed together (execution.py) are block-diagonal.
- Autocast does not reach linear layers, convolutions and attention under `vmap`; here it does.
- Batch norm and max pooling for compiled steps on CPUs: torch.compile makes slower loops of torch's own.
"""

import copy
import math
import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from dbviz_ray.config.seeds import drawing_from
from dbviz_ray.training.gradients import at_least_single
from dbviz_ray.training.verification import StepsDifferError

aten = torch.ops.aten
MaskShapes = dict[str, tuple[float, tuple[int, ...]]]
"""Of dropout masks, by buffer name: the share dropped, and the shape."""
MASK = "mask"
CHANNEL_DROPOUTS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
VIEWS = {
    *(aten.view.default, aten._unsafe_view.default, aten.permute.default, aten.transpose.int),
    *(aten.squeeze.dim, aten.unsqueeze.default),
}
PRODUCTS = {
    *(F.linear, F.scaled_dot_product_attention),
    *(F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
}
"""Functions that autocast computes in the lower precision, but not under `vmap`."""


class MaskedDropout(nn.Module):
    """Dropout with its mask `[n, ...]`, of zeros and 1/(1 - p), in a buffer that is set before every step."""

    mask: Tensor
    p: float
    inplace: bool

    def forward(self, x: Tensor) -> Tensor:
        """`x` times the mask in training mode, `x` in evaluation mode. StepsDifferError without a mask."""
        if not self.training:
            return x
        if not self.mask.ndim:
            raise StepsDifferError("it calls a dropout layer in some steps only")
        masked = x * self.mask.to(x.dtype)
        return x.copy_(masked) if self.inplace else masked

    def mask_shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of the mask for an input like `x`."""
        if not isinstance(self, CHANNEL_DROPOUTS):
            return tuple(x.shape)
        # What torch takes as channels of one image.
        unbatched = (isinstance(self, nn.Dropout1d) and x.ndim == 2) or (isinstance(self, nn.Dropout3d) and x.ndim == 4)
        kept = 1 if unbatched else 2
        return (*x.shape[:kept], *(1 for _ in x.shape[kept:]))


def with_masked_dropout(network: nn.Module) -> nn.Module:
    """Let every dropout layer with p > 0 take its mask from a buffer; changes `network` in place.

    A layer stays what it is to the network's own code: an instance of its class, with its hooks. A layer with several
    names gets a mask for each name.
    """
    for path, layer in list(network.named_modules(remove_duplicate=False)):
        if isinstance(layer, MaskedDropout):  # it has another name too
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, copy.deepcopy(layer))
        elif type(layer) in MASKED and layer.p > 0:
            layer.__class__ = MASKED[type(layer)]
            layer.register_buffer(MASK, torch.ones(()), persistent=False)
    return network


def mask_shapes(network: nn.Module, images: Tensor) -> MaskShapes:
    """The masks of a step with `images`; StepsDifferError if a layer is called twice in one pass."""
    if not any(isinstance(module, MaskedDropout) for module in network.modules()):
        return {}
    shapes: MaskShapes = {}

    def note(name: str, layer: MaskedDropout, x: Tensor) -> Tensor:
        if f"{name}.{MASK}" in shapes:
            raise StepsDifferError(f"its dropout layer {name} is called twice in one pass")
        if layer.training:
            shapes[f"{name}.{MASK}"] = (layer.p, layer.mask_shape(x))
        return x

    twin = copy.deepcopy(network)
    twin.train()  # what it calls in evaluation mode may be something else
    for name, layer in twin.named_modules():
        if isinstance(layer, MaskedDropout):
            vars(layer)["forward"] = partial(note, name, layer)
    with torch.no_grad(), drawing_from(0, images.device):
        twin(images.clone())
    return shapes


class _FoldedBatchNorm(_BatchNorm):
    """Under vmap, one batch norm over the channels of all members."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels, ...]` to the same shape, normalised."""
        if self.training:
            self.get_buffer("num_batches_tracked").add_(1)
        tensors = (x, self.get_buffer("running_mean"), self.get_buffer("running_var"), self.weight, self.bias)
        return _Folded.apply(*tensors, self.training, self.momentum, self.eps)  # type: ignore[no-any-return]


def with_folded_batch_norm(network: nn.Module) -> nn.Module:
    """Fold the batch norms of `network`, for use under `vmap` only; changes it in place.

    A layer stays an instance of its class, with its hooks. Only torch's own classes are folded: a derived class may do
    more, such as an activation.
    """
    for layer in network.modules():
        if type(layer) in FOLDED and layer.affine and layer.track_running_stats and layer.momentum:
            layer.__class__ = FOLDED[type(layer)]
    return network


def _derived(own: type[nn.Module], classes: Iterable[type[nn.Module]]) -> dict[type[nn.Module], type[nn.Module]]:
    """For each of torch's classes, one that is derived from it and does what `own` does."""
    return {of_torch: type(own.__name__, (own, of_torch), {}) for of_torch in classes}


MASKED = _derived(MaskedDropout, (nn.Dropout, *CHANNEL_DROPOUTS))
FOLDED = _derived(_FoldedBatchNorm, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))


class _Folded(torch.autograd.Function):
    """Only a rule for vmap."""

    @staticmethod
    def forward(*_: Any) -> Tensor:
        """Never called: only stacked networks have this layer."""
        raise NotImplementedError("folded batch norm is for stacked networks")

    @staticmethod
    def setup_context(*_: Any) -> None:
        """Keeps nothing: the rule for vmap consists of differentiable functions."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, *rest: Any) -> tuple[Tensor, int]:
        """Turns members into channels, `[n, members * channels, ...]`; copies nothing if memory is already so."""
        x_dim, *state_dims = in_dims[:5]
        *state, training, momentum, eps = rest
        members = info.batch_size
        apart = x.unsqueeze(1).expand(-1, members, *x.shape[1:]) if x_dim is None else x.movedim(x_dim, 1)
        mean, variance, weight, bias = (t.movedim(dim, 0).flatten() for t, dim in zip(state, state_dims, strict=True))
        normalised = F.batch_norm(apart.flatten(1, 2), mean, variance, weight, bias, training, momentum, eps)
        return normalised.unflatten(1, (members, -1)), 1


def with_fast_loops(step: GraphModule) -> GraphModule:
    """Let torch.compile make fast loops of batch norms of channels-last images on a CPU; changes `step` in place.

    The backward pass of a ReLU that follows takes its signs from the batch norm, which is computed once more: it reads
    the input of the batch norm anyway, but not the output of the ReLU. Max pooling stays PyTorch's own.
    """
    for node in step.graph.nodes:
        if node.target in (aten.native_batch_norm.default, aten.native_batch_norm_backward.default):
            backward = node.target is aten.native_batch_norm_backward.default
            image, *state, training = node.args[backward : 6 + 2 * backward]
            fast = None not in state and training and _is_fast(image.meta["val"])
            node.target = (_normalised_backward if backward else _normalised) if fast else node.target
        elif node.target is aten.relu.default and _follows_fast(node.args[0]):
            node.target = _rectified
        elif node.target is aten.threshold_backward.default and node.args[1].target is _rectified:
            node.update_arg(1, node.args[1].args[0])
        elif node.target in POOLS and node.args[0].meta["val"].device.type == "cpu":
            node.target = POOLS[node.target]
    step.recompile()
    return step


def _opaque(operation: Any) -> Any:
    """The same operation under another name, which torch.compile calls as it is."""
    name, schema = str(operation._schema).removeprefix("aten::").split("(", 1)
    own = torch.library.custom_op(f"dbviz::{name}", operation, mutates_args=(), schema=f"({schema}")
    own.register_fake(operation)
    return own._opoverload


POOLS = {
    operation: _opaque(operation)
    for operation in (aten.max_pool2d_with_indices.default, aten.max_pool2d_with_indices_backward.default)
}


def _is_fast(images: Tensor) -> bool:
    return images.device.type == "cpu" and images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last)


def _follows_fast(node: Any) -> bool:
    while node.target in VIEWS:
        node = node.args[0]
    return node.target is operator.getitem and node.args[0].target is _normalised


def _normalised(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, _: bool, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`aten.native_batch_norm` in training: one pass for sums, and another."""
    wide = at_least_single(x)
    first = wide[0].mean((1, 2))  # near enough to every pixel that no digits cancel below
    moved = wide - _broad(first)
    count = x.numel() // x.shape[1]
    shift, square = _summed(moved) / count, _summed(moved * moved) / count
    own_mean, own_variance = _stored(first + shift), _stored((square - shift * shift).clamp(min=0))
    scale = _stored((own_variance + eps).rsqrt())
    mean.mul_(1 - momentum).add_(own_mean, alpha=momentum)
    variance.mul_(1 - momentum).add_(own_variance, alpha=momentum * count / max(count - 1, 1))
    factor, term = _stored(scale * weight), _stored(bias - own_mean * scale * weight)
    return (wide * _broad(factor) + _broad(term)).to(x.dtype), own_mean, scale


def _normalised_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, _mean: Tensor, _variance: Tensor, mean: Tensor, scale: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """`aten.native_batch_norm_backward` in training: one pass for sums, and another."""
    given, moved = at_least_single(gradient), at_least_single(x) - _broad(mean)
    count = x.numel() // x.shape[1]
    of_bias, of_weight = _summed(given), _summed(given * moved) * scale
    factor = scale * weight
    slope, term = _stored(factor * scale * of_weight / count), _stored(factor * of_bias / count)
    whole = given * _broad(_stored(factor)) - moved * _broad(slope) - _broad(term)
    return whole.to(x.dtype), of_weight, of_bias


def _rectified(x: Tensor) -> Tensor:
    """`aten.relu`, written once, in the layout of its input, although several operations read it."""
    return _stored(x.relu())


def _broad(of_channels: Tensor) -> Tensor:
    return of_channels[:, None, None]


def _summed(images: Tensor) -> Tensor:
    """The sum of each channel, first over blocks that fit into the fastest memory."""
    pixels = images.permute(0, 2, 3, 1)
    block = math.gcd(pixels.shape[:3].numel(), 32)
    return _stored(pixels.reshape(-1, block, images.shape[1]).sum(1)).sum(0)


def _stored(tensor: Tensor) -> Tensor:
    """The same tensor, which torch.compile writes to memory instead of computing it again for each use."""
    return tensor.as_strided(tensor.shape, tensor.stride())


def block_diagonal(weight: Tensor, groups: int, members: int) -> Tensor:
    """`[groups * out, members * in, ...]` of a weight `[groups * out, in, ...]`, zero outside of each group's block."""
    _, inner, *kernel = weight.shape
    own = weight.reshape(groups // members, members, -1, inner, *kernel)
    whole = own.new_zeros(groups // members, members, own.shape[2], members, inner, *kernel)
    whole.diagonal(dim1=1, dim2=3).copy_(own.movedim(1, -1))
    return whole.view(len(weight), members * inner, *kernel)


def diagonal_blocks(whole: Tensor, groups: int, members: int) -> Tensor:
    """The inverse of `block_diagonal`."""
    _, inner, *kernel = whole.shape
    blocks = whole.reshape(groups // members, members, -1, members, inner // members, *kernel)
    return blocks.diagonal(dim1=1, dim2=3).movedim(-1, 1).reshape(len(whole), inner // members, *kernel)


@contextmanager
def autocast(device_type: str, dtype: torch.dtype) -> Iterator[None]:
    """`torch.autocast` that also works under `vmap`; on the meta device it only casts the inputs of `PRODUCTS`."""
    with nullcontext() if device_type == "meta" else torch.autocast(device_type, dtype), _CastProducts(dtype):
        yield


class _CastProducts(TorchFunctionMode):
    """Casts the inputs of `PRODUCTS`."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            args, kwargs = tree_map_only(Tensor, self._cast, (args, kwargs))
        return func(*args, **(kwargs or {}))

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

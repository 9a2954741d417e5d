"""Layers for stacked networks, whose members share a computation but not their random streams.

- Batch norm: `vmap` applies the affine part in extra passes. Folded batch norm treats the members as channels of one
  ordinary batch norm, forward and backward.
- Dropout: torch draws from one global stream. Here each member's own stream draws the mask, which comes with the batch.
- Autocast does not reach linear layers, convolutions and attention under `vmap`; here it does.
"""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from dbviz_ray.config.seeds import drawing_from
from dbviz_ray.training.verification import StepsDifferError

MaskShapes = dict[str, tuple[float, tuple[int, ...]]]
"""Of dropout masks, by buffer name: the share dropped, and the shape."""
MASK = "mask"
CHANNEL_DROPOUTS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
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

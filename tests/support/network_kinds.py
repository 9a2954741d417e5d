"""Kinds of networks that people have, as builders `(width, image_shape, classes)`: "support.network_kinds:NAME".

All take `[n, 1, 8, 8]` images. `KINDS` are those that train, of which `OUTSIDE` hold state outside of their state_dict.
`UNSTEADY` are no functions of the image.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

KINDS: dict[str, Any] = {}
OUTSIDE: dict[str, Any] = {}
UNSTEADY: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    for kinds in (KINDS, OUTSIDE, UNSTEADY):
        if name in kinds:
            return kinds[name]
    raise AttributeError(name)


# Layers between a convolution without bias and a head. A bias in front of batch norm has the gradient zero but for
# rounding, which Adam blows up.
LAYERS: dict[str, Callable[[int], list[nn.Module]]] = {
    "batch_norm": lambda k: [nn.BatchNorm2d(k), nn.ReLU()],
    "batch_norm_of_momentum_none": lambda k: [nn.BatchNorm2d(k, momentum=None), nn.ReLU()],
    "batch_norm_without_affine": lambda k: [nn.BatchNorm2d(k, affine=False), nn.ReLU()],
    "batch_norm_without_statistics": lambda k: [nn.BatchNorm2d(k, track_running_stats=False), nn.ReLU()],
    "frozen_batch_norm_weights": lambda k: [nn.BatchNorm2d(k).requires_grad_(False), nn.ReLU()],
    "group_norm": lambda k: [nn.GroupNorm(2, k), nn.GELU()],
    "instance_norm": lambda k: [nn.InstanceNorm2d(k, affine=True), nn.SiLU()],
    "layer_norm": lambda k: [nn.LayerNorm([k, 8, 8]), nn.ELU()],
    "in_place_relu": lambda k: [nn.BatchNorm2d(k), nn.ReLU(inplace=True)],
    "depthwise": lambda k: [nn.Conv2d(k, k, 3, padding=1, groups=k), nn.ReLU()],
    "dilated": lambda k: [nn.Conv2d(k, k, 3, padding=2, dilation=2, padding_mode="reflect"), nn.ReLU()],
    "pixel_shuffle": lambda k: [nn.Conv2d(k, 4 * k, 1), nn.PixelShuffle(2), nn.ReLU()],
    "pooled": lambda k: [nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True)],
    "dropouts": lambda k: [nn.Dropout2d(0.2), nn.ReLU(), nn.Dropout(0.3)],
    "new_weight_norm": lambda k: [parametrizations.weight_norm(nn.Conv2d(k, k, 3)), nn.ReLU()],
    "new_spectral_norm": lambda k: [parametrizations.spectral_norm(nn.Conv2d(k, k, 3)), nn.ReLU()],
    "orthogonal": lambda k: [parametrizations.orthogonal(nn.Conv2d(k, k, 1)), nn.ReLU()],
    "old_weight_norm": lambda k: [nn.utils.weight_norm(nn.Conv2d(k, k, 3)), nn.ReLU()],
    "old_spectral_norm": lambda k: [nn.utils.spectral_norm(nn.Conv2d(k, k, 3)), nn.ReLU()],
    "scripted_activation": lambda k: [torch.jit.script(nn.Softplus())],
}


def with_layers(layers):
    def build(width, image_shape, classes):
        convolution = nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False)
        pooling = nn.AdaptiveAvgPool2d(2), nn.Flatten()
        network = nn.Sequential(convolution, *layers(width), *pooling, nn.LazyLinear(classes)).eval()
        with torch.no_grad():
            network(torch.zeros(1, *image_shape))  # gives the lazy layer its shape
        return network.train()

    return build


KINDS |= {name: with_layers(layers) for name, layers in LAYERS.items()}


class Base(nn.Module):
    """One hidden layer and a head; subclasses change what happens between them."""

    def __init__(self, width: int, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.size = 2 * width
        self.hidden = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], self.size)
        self.head = nn.Linear(self.size, classes)
        self.prepare()

    def prepare(self) -> None:
        """Nothing."""

    def between(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Any:
        return self.head(self.between(torch.relu(self.hidden(x.flatten(1)))))


def between(name, function, prepare=lambda net: None, kinds=KINDS):
    """A kind that does `function(network, h)` between its layers."""
    kinds[name] = type(name, (Base,), {"between": function, "prepare": prepare})


def add_calls(net):
    net.calls = 0


def count(net, h):
    net.calls += net.training
    return h


def smaller(net, h):
    while h.abs().max().item() > 1:
        h = h / 2
    return h


def with_mask(net, h):
    scaled = h.clone()
    scaled[h > 0.5] *= 0.1
    return scaled


def with_rows(net, h):
    bright = h.sum(1) > h.sum(1).median()
    scaled = h.clone()
    scaled[bright] = torch.tanh(h[bright])
    return scaled


def largest(net, h):
    values, places = h.topk(net.size // 2, dim=1)
    return torch.zeros_like(h).scatter(1, places, values)


def less_mean_in_place(net, h):
    if net.training:
        net.mean.lerp_(h.detach().mean(0), 0.1)
    return h - net.mean


def less_mean_assigned(net, h):
    if net.training:
        net.mean = 0.9 * net.mean + 0.1 * h.detach().mean(0)
    return h - net.mean


def annealed(net, h):
    if net.training:
        net.calls = net.calls + 1
    return torch.sin(h * (1 + 1 / (1 + net.calls)))


def hooked(net, h):
    if h.requires_grad:
        h.register_hook(lambda gradient: gradient * 0.3)
    return h


def without_gradient(net, h):
    with torch.no_grad():
        scale = h.norm(dim=1, keepdim=True)
    return h / (1 + scale) + h.detach()


def clamped(net, h):
    net.head.weight.data.clamp_(-0.2, 0.2)
    return h


class Sign(torch.autograd.Function):
    """A straight-through estimator, as they were written before torch 2.0."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() < 1)


def tied(net):
    net.inner, net.again = nn.Linear(net.size, net.size), nn.Linear(net.size, net.size)
    net.again.weight = net.inner.weight


def lists(net):
    net.scales = nn.ParameterList([nn.Parameter(torch.ones(net.size)) for _ in range(2)])
    net.shifts = nn.ParameterDict({"shift": nn.Parameter(torch.zeros(net.size))})


def tables(net):
    net.product, net.table = nn.Bilinear(net.size, net.size, net.size), nn.Embedding(5, net.size)


def in_tables(net, h):
    places = (h.detach().mean(1) * 4).long().clamp(0, 4)
    return net.product(h, h) * 0.1 + net.table(places)


def same(net, h):
    return h


def scaled(net, h):
    return h * net.scale.to(h)


def inner(net):
    net.inner = nn.Linear(net.size, net.size)


def constant(net):
    return torch.linspace(0.5, 1.5, net.size)


def drawn(net):
    return torch.from_numpy(np.random.default_rng().normal(size=net.size)).float()


def halve(gradients):
    return tuple(gradient * 0.5 for gradient in gradients)


between("draws_from_python", lambda net, h: h * 0.5 if net.training and random.random() < 0.5 else h)
between("draws_from_numpy", lambda net, h: h + float(np.random.normal()) * 0.1 if net.training else h)
between("draws_from_torch", lambda net, h: h + 0.1 * torch.randn_like(h) if net.training else h)
between("functional_dropout", lambda net, h: F.dropout(h, 0.4, net.training))
between("counts_calls", count, add_calls)
between("counts_in_a_buffer", annealed, lambda net: net.register_buffer("calls", torch.zeros(())))
between("mean_in_place", less_mean_in_place, lambda net: net.register_buffer("mean", torch.zeros(net.size)))
between("mean_assigned", less_mean_assigned, lambda net: net.register_buffer("mean", torch.zeros(net.size)))
between("branches_on_a_value", lambda net, h: h * 2 if h.mean() > 0.2 else h / 2)
between("loops_until_small", smaller)
between("boolean_mask", with_mask)
between("masked_rows", with_rows)
between("loops_over_the_batch", lambda net, h: torch.stack([row / (1 + row.norm()) for row in h]))
between("sorts_and_picks", largest)
between("einsum_and_fft", lambda net, h: torch.einsum("ni,nj->nj", h, torch.fft.fft(h).abs()) / net.size)
between("straight_through", lambda net, h: Sign.apply(h - 0.3))
between("checkpointed", lambda net, h: checkpoint(lambda t: torch.relu(net.inner(t)), h, use_reentrant=False), inner)
between("stops_gradients", without_gradient)
between("hook_on_a_tensor", hooked)
between("backward_hook", same, lambda net: net.head.register_full_backward_hook(lambda m, inputs, _: halve(inputs)))
between("forward_hook", same, lambda net: net.hidden.register_forward_hook(lambda m, inputs, output: output * 1.5))
between("tied_weights", lambda net, h: net.again(torch.relu(net.inner(h))), tied)
between(
    "weight_through_a_list", lambda net, h: h * net.own[0].mean(), lambda net: vars(net).update(own=[net.hidden.weight])
)
between("clamps_its_weights", clamped)
between("constant_attribute", scaled, lambda net: vars(net).update(scale=constant(net)))
between("unsaved_constant", scaled, lambda net: net.register_buffer("scale", constant(net), persistent=False))
between("parameter_lists", lambda net, h: h * net.scales[0] * net.scales[1] + net.shifts["shift"], lists)
between("unused_parameter", same, inner)
between("fixed_types", lambda net, h: (h.float() @ torch.eye(net.size)).to(net.head.weight.dtype))
between("bilinear_and_embedding", in_tables, tables)
between("pruned", same, lambda net: prune.l1_unstructured(net.head, "weight", amount=0.3))
between(
    "branch_behind_a_zero",
    lambda net, h: h + net.gate * torch.sin(h * (1 + (random.random() if net.training else 0.5))),
    lambda net: net.register_parameter("gate", nn.Parameter(torch.zeros(()))),
)

between(
    "random_frequencies",
    lambda net, h: torch.sin(scaled(net, h)),
    lambda net: vars(net).update(scale=drawn(net)),
    OUTSIDE,
)
between(
    "random_wiring",
    lambda net, h: h[:, net.wires],
    lambda net: vars(net).update(wires=list(drawn(net).argsort())),
    OUTSIDE,
)
between("unsaved_frequencies", scaled, lambda net: net.register_buffer("scale", drawn(net), persistent=False), OUTSIDE)
between("anneals_by_a_counter", annealed, add_calls, OUTSIDE)
between("unsaved_mean", less_mean_assigned, lambda net: vars(net).update(mean=torch.zeros(())), OUTSIDE)

between("noise_in_evaluation", lambda net, h: h + torch.randn_like(h), kinds=UNSTEADY)
between("looks_at_its_batch", lambda net, h: (h - h.mean(0)) * 3, kinds=UNSTEADY)


class Sequence(nn.Module):
    """Rows of the image as a sequence of 8 tokens of 8 numbers."""

    def __init__(self, middle: nn.Module, classes: int) -> None:
        super().__init__()
        self.middle, self.head = middle, nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        result = self.middle(x.mean(1))
        return self.head((result[0] if isinstance(result, tuple) else result).mean(1))


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x, x, x, need_weights=False)


SEQUENCES = {
    "lstm": lambda: nn.LSTM(8, 8, batch_first=True),
    "gru_of_two_directions": lambda: nn.GRU(8, 4, batch_first=True, bidirectional=True),
    "attention": lambda: SelfAttention(8, 2, batch_first=True),
    "attention_with_dropout": lambda: SelfAttention(8, 2, dropout=0.2, batch_first=True),
    "transformer_layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True),
}
KINDS |= {
    name: lambda width, image_shape, classes, make=make: Sequence(make(), classes) for name, make in SEQUENCES.items()
}


class Normed(nn.Module):
    """A convolution, batch norm and dropout."""

    def __init__(self, width: int, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], width, 3, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(width * (image_shape[1] - 2) * (image_shape[2] - 2), classes)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).flatten(1)))


class CallsItsDropoutTwice(Normed):
    def forward(self, x: Tensor) -> Tensor:
        return self.drop(super().forward(x))


def with_dropout_under_two_names(width, image_shape, classes):
    dropout, size = nn.Dropout(0.5), image_shape[0] * image_shape[1] * image_shape[2]
    return nn.Sequential(nn.Flatten(), dropout, nn.Linear(size, 2 * width), dropout, nn.Linear(2 * width, classes))


class NormThenActivation(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x)) - 0.1


class DecayingMomentum(Normed):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.norm.momentum = max(0.01, self.norm.momentum * 0.9)
        return super().forward(x)


class ReadsItsNorm(Normed):
    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.norm, nn.BatchNorm2d)
        return super().forward(x) * (1 + self.norm.running_var.mean())


class ChangesItsInput(Normed):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(0.5))


def keeping(layer_type, mode):
    """`train()` leaves layers of one type in `mode`."""

    class Keeping(Normed):
        def train(self, training: bool = True) -> Keeping:
            super().train(training)
            for layer in self.modules():
                if isinstance(layer, layer_type):
                    nn.Module.train(layer, mode)
            return self

    return Keeping


def changed(change):
    """A builder of `Normed` networks that `change` changes."""

    def build(width, image_shape, classes):
        network = Normed(width, image_shape, classes)
        change(network, width)
        return network

    return build


def returning(wrap):
    """The outputs are wrapped."""
    return type("Returning", (Normed,), {"forward": lambda self, x: wrap(Normed.forward(self, x))})


KINDS |= {
    "frozen_batch_norm": keeping(nn.BatchNorm2d, False),
    "hook_on_a_batch_norm": changed(
        lambda net, k: net.norm.register_forward_hook(lambda m, inputs, output: output * 0.5)
    ),
    "hook_before_a_dropout": changed(
        lambda net, k: net.drop.register_forward_pre_hook(lambda m, inputs: halve(inputs))
    ),
    "derived_batch_norm": changed(lambda net, k: setattr(net, "norm", NormThenActivation(k))),
    "dropout_called_twice": CallsItsDropoutTwice,
    "reads_its_batch_norm": ReadsItsNorm,
    "momentum_that_decays": DecayingMomentum,
    "changes_its_input": ChangesItsInput,
    "returns_a_tuple": returning(lambda logits: (logits, logits.mean())),
    "returns_a_dictionary": returning(lambda logits: {"features": logits + 1, "logits": logits}),
    "returns_an_object": returning(lambda logits: SimpleNamespace(logits=logits)),
}
UNSTEADY |= {"keeps_dropout_on": keeping(nn.Dropout, True), "keeps_batch_statistics": keeping(nn.BatchNorm2d, True)}

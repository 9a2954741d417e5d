"""Kinds of networks that people have, as builders `(width, image_shape, classes)`: "support.network_kinds:NAME".

All take `[n, 1, 8, 8]` images. `KINDS` are those that train, of which `OUTSIDE` hold state outside of their state_dict.
`UNSTEADY` are no functions of the image.
"""

import random
from collections import OrderedDict
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

# Layers between a convolution without bias and a head. A bias in front of batch norm has the gradient zero but for
# rounding, which Adam blows up.
LAYERS: dict[str, Callable[[int], list[nn.Module]]] = {
    "batch_norm": lambda k: [nn.BatchNorm2d(k), nn.ReLU()],
    "batch_norm_of_momentum_none": lambda k: [nn.BatchNorm2d(k, momentum=None), nn.ReLU()],
    "batch_norm_without_affine": lambda k: [nn.BatchNorm2d(k, affine=False), nn.ReLU()],
    "frozen_batch_norm_weights": lambda k: [nn.BatchNorm2d(k).requires_grad_(False), nn.ReLU()],
    "instance_norm": lambda k: [nn.InstanceNorm2d(k, affine=True), nn.SiLU()],
    "layer_norm": lambda k: [nn.LayerNorm([k, 8, 8]), nn.ELU()],
    "in_place_relu": lambda k: [nn.BatchNorm2d(k), nn.ReLU(inplace=True)],
    "depthwise": lambda k: [nn.Conv2d(k, k, 3, padding=1, groups=k), nn.ReLU()],
    "dilated": lambda k: [nn.Conv2d(k, k, 3, padding=2, dilation=2, padding_mode="reflect"), nn.ReLU()],
    "pooled": lambda k: [nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True)],
    "dropouts": lambda k: [nn.Dropout2d(0.2), nn.ReLU(), nn.Dropout(0.3)],
    "new_spectral_norm": lambda k: [parametrizations.spectral_norm(nn.Conv2d(k, k, 3)), nn.ReLU()],
    "old_spectral_norm": lambda k: [nn.utils.spectral_norm(nn.Conv2d(k, k, 3)), nn.ReLU()],
    "scripted_activation": lambda k: [torch.jit.script(nn.Softplus())],
}


def with_layers(layers):
    def build(width, image_shape, classes):
        convolution = nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False)
        head = nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(classes)
        network = nn.Sequential(convolution, *layers(width), *head).eval()
        with torch.no_grad():
            network(torch.zeros(1, *image_shape))  # gives the lazy layer its shape
        return network.train()

    return build


KINDS |= {name: with_layers(layers) for name, layers in LAYERS.items()}


class Base(nn.Module):
    """One hidden layer and a head; subclasses `prepare()`, and do `between(h)` what is theirs."""

    def __init__(self, width: int, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.size = 2 * width
        self.hidden = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], self.size)
        self.head = nn.Linear(self.size, classes)
        self.prepare()

    def forward(self, x: Tensor) -> Any:
        return self.head(self.between(torch.relu(self.hidden(x.flatten(1)))))


def between(prepare=lambda net: None, kinds=KINDS, **functions):
    """Kinds that do `function(network, h)` between their layers, with what `prepare(network)` made."""
    kinds |= {name: type(name, (Base,), {"between": own, "prepare": prepare}) for name, own in functions.items()}


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


def with_attribute(name, make):
    """Prepares an attribute that is no buffer."""
    return lambda net: vars(net).update({name: make(net)})


def with_buffer(name, make, persistent=True):
    return lambda net: net.register_buffer(name, make(net), persistent)


def with_rows(net, h):
    bright, scaled = h.sum(1) > 2, h.clone()
    scaled[bright] = torch.tanh(h[bright])
    return scaled


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


def count(net, h):
    net.calls += net.training
    return h


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


def tied(net):
    net.inner, net.again = nn.Linear(net.size, net.size), nn.Linear(net.size, net.size)
    net.again.weight = net.inner.weight


def lists(net):
    net.scales = nn.ParameterList([nn.Parameter(torch.ones(net.size)) for _ in range(2)])
    net.shifts = nn.ParameterDict({"shift": nn.Parameter(torch.zeros(net.size))})


def gated(net, h):
    return h + net.gate * torch.sin(h * (1 + (random.random() if net.training else 0.5)))


between(
    draws_from_python=lambda net, h: h * 0.5 if net.training and random.random() < 0.5 else h,
    draws_from_numpy=lambda net, h: h + float(np.random.normal()) * 0.1 if net.training else h,
    draws_from_torch=lambda net, h: h + 0.1 * torch.randn_like(h) if net.training else h,
    functional_dropout=lambda net, h: F.dropout(h, 0.4, net.training),
    branches_on_a_value=lambda net, h: h * 2 if h.mean() > 0.2 else h / 2,
    masked_rows=with_rows,
    loops_over_the_batch=lambda net, h: torch.stack([row / (1 + row.norm()) for row in h]),
    einsum_and_fft=lambda net, h: torch.einsum("ni,nj->nj", h, torch.fft.fft(h).abs()) / net.size,
    straight_through=lambda net, h: Sign.apply(h - 0.3),
    stops_gradients=without_gradient,
    hook_on_a_tensor=hooked,
    clamps_its_weights=clamped,
    fixed_types=lambda net, h: (h.float() @ torch.eye(net.size)).to(net.head.weight.dtype),
)
no_calls = with_attribute("calls", lambda net: 0)
between(no_calls, counts_calls=count)
between(with_buffer("calls", lambda net: torch.zeros(())), counts_in_a_buffer=annealed)
mean = with_buffer("mean", lambda net: torch.zeros(net.size))
between(mean, mean_in_place=less_mean_in_place, mean_assigned=less_mean_assigned)
between(inner, checkpointed=lambda net, h: checkpoint(lambda t: torch.relu(net.inner(t)), h, use_reentrant=False))
between(inner, unused_parameter=same)
between(lambda net: net.head.register_full_backward_hook(lambda m, inputs, _: (inputs[0] * 0.5,)), backward_hook=same)
between(lambda net: net.hidden.register_forward_hook(lambda m, inputs, output: output * 1.5), forward_hook=same)
between(tied, tied_weights=lambda net, h: net.again(torch.relu(net.inner(h))))
weight_in_a_list = with_attribute("own", lambda net: [net.hidden.weight])
between(weight_in_a_list, weight_through_a_list=lambda net, h: h * net.own[0].mean())
between(with_attribute("scale", constant), constant_attribute=scaled)
between(with_buffer("scale", constant, persistent=False), unsaved_constant=scaled)
between(lists, parameter_lists=lambda net, h: h * net.scales[0] * net.scales[1] + net.shifts["shift"])
between(lambda net: prune.l1_unstructured(net.head, "weight", amount=0.3), pruned=same)
between(lambda net: net.register_parameter("gate", nn.Parameter(torch.zeros(()))), branch_behind_a_zero=gated)

between(with_attribute("scale", drawn), OUTSIDE, random_frequencies=lambda net, h: torch.sin(scaled(net, h)))
wires = with_attribute("wires", lambda net: list(drawn(net).argsort()))
between(wires, OUTSIDE, random_wiring=lambda net, h: h[:, net.wires])
between(with_buffer("scale", drawn, persistent=False), OUTSIDE, unsaved_frequencies=scaled)
between(no_calls, OUTSIDE, anneals_by_a_counter=annealed)
between(with_attribute("mean", lambda net: torch.zeros(())), OUTSIDE, unsaved_mean=less_mean_assigned)


class RowsAsTokens(nn.Sequential):
    """A layer for sequences over every other row of the image, 4 tokens of 8 numbers, and a head."""

    def forward(self, x: Tensor) -> Tensor:
        result = self[0](x.mean(1)[:, ::2])
        return self[1]((result[0] if isinstance(result, tuple) else result).mean(1))


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x, x, x, need_weights=False)


SEQUENCES = {
    "lstm": lambda: nn.LSTM(8, 8, batch_first=True),
    "attention_with_dropout": lambda: SelfAttention(8, 2, dropout=0.2, batch_first=True),
    "transformer_layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True),
}
KINDS |= {
    name: lambda width, image_shape, classes, make=make: RowsAsTokens(make(), nn.Linear(8, classes))
    for name, make in SEQUENCES.items()
}


class Normed(nn.Sequential):
    def __init__(self, width: int, image_shape: tuple[int, int, int], classes: int) -> None:
        conv, norm = nn.Conv2d(image_shape[0], width, 3, bias=False), nn.BatchNorm2d(width)
        head = nn.Linear(width * (image_shape[1] - 2) * (image_shape[2] - 2), classes)
        layers = {"conv": conv, "norm": norm, "relu": nn.ReLU(), "flat": nn.Flatten(), "drop": nn.Dropout(0.3)}
        super().__init__(OrderedDict(layers, head=head))


class NormThenActivation(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x)) - 0.1


class DecayingMomentum(Normed):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.norm.momentum = max(0.01, self.norm.momentum * 0.9)
        return super().forward(x)


def keeping(layer_type, mode):
    """`train()` leaves layers of one type in `mode`."""

    def train(net, training=True):
        nn.Module.train(net, training)
        for layer in net.modules():
            if isinstance(layer, layer_type):
                nn.Module.train(layer, mode)
        return net

    return type("Keeping", (Normed,), {"train": train})


def changed(change):
    def build(width, image_shape, classes):
        network = Normed(width, image_shape, classes)
        change(network, width)
        return network

    return build


def returning(wrap):
    return type("Returning", (Normed,), {"forward": lambda net, x: wrap(net, Normed.forward(net, x))})


KINDS |= {
    "frozen_batch_norm": keeping(nn.BatchNorm2d, False),
    "hook_on_a_batch_norm": changed(lambda net, k: net.norm.register_forward_hook(lambda m, x, output: output * 0.5)),
    "hook_before_a_dropout": changed(lambda net, k: net.drop.register_forward_pre_hook(lambda m, x: (x[0] * 0.5,))),
    "derived_batch_norm": changed(lambda net, k: setattr(net, "norm", NormThenActivation(k))),
    "dropout_called_twice": returning(lambda net, logits: net.drop(logits)),
    "reads_its_batch_norm": returning(lambda net, logits: logits * (1 + net.norm.running_var.mean())),
    "momentum_that_decays": DecayingMomentum,
    "changes_its_input": type("Changing", (Normed,), {"forward": lambda net, x: Normed.forward(net, x.mul_(0.5))}),
    "returns_a_tuple": returning(lambda net, logits: (logits, logits.mean())),
    "returns_a_dictionary": returning(lambda net, logits: {"features": logits + 1, "logits": logits}),
    "returns_an_object": returning(lambda net, logits: SimpleNamespace(logits=logits)),
}
between(kinds=UNSTEADY, noise_in_evaluation=lambda net, h: h + torch.randn_like(h))
between(kinds=UNSTEADY, looks_at_its_batch=lambda net, h: (h - h.mean(0)) * 3)
UNSTEADY |= {"keeps_dropout_on": keeping(nn.Dropout, True), "keeps_batch_statistics": keeping(nn.BatchNorm2d, True)}
UNSTEADY |= {"batch_norm_without_statistics": with_layers(lambda k: [nn.BatchNorm2d(k, track_running_stats=False)])}
globals().update(KINDS | OUTSIDE | UNSTEADY)

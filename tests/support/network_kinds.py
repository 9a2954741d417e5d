"""Kinds of networks that people have, as builders `(width, image_shape, classes)`: "support.network_kinds:NAME".

All take `[n, 1, 8, 8]` images. `KINDS` names those that train; the ways in which they are unusual stand in their names.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

KINDS: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    try:
        return KINDS[name]
    except KeyError:
        raise AttributeError(name) from None


def kind(builder):
    KINDS[builder.__name__] = builder
    return builder


def layers(name, *middle_of):
    """A convolution without bias, the layers that `middle_of` make for a width, pooling and a head."""

    def build(width, image_shape, classes):
        torch_layers = [make(width) for make in middle_of]
        first = nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False)
        return nn.Sequential(first, *torch_layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(classes)).eval()

    def initialised(width, image_shape, classes):
        network = build(width, image_shape, classes)
        with torch.no_grad():
            network(
                torch.zeros(1, *image_shape)
            )  # gives lazy layers their shapes; in evaluation mode, so nothing else moves
        return network.train()

    KINDS[name] = initialised


layers("batch_norm", lambda k: nn.BatchNorm2d(k), lambda k: nn.ReLU())
layers("batch_norm_of_momentum_none", lambda k: nn.BatchNorm2d(k, momentum=None), lambda k: nn.ReLU())
layers("batch_norm_without_affine", lambda k: nn.BatchNorm2d(k, affine=False), lambda k: nn.ReLU())
layers("batch_norm_without_statistics", lambda k: nn.BatchNorm2d(k, track_running_stats=False), lambda k: nn.ReLU())
layers("group_norm", lambda k: nn.GroupNorm(2, k), lambda k: nn.GELU())
layers("instance_norm", lambda k: nn.InstanceNorm2d(k, affine=True), lambda k: nn.SiLU())
layers("layer_norm", lambda k: nn.LayerNorm([k, 8, 8]), lambda k: nn.ELU())
layers("local_response_norm", lambda k: nn.LocalResponseNorm(2), lambda k: nn.Tanh())
layers("prelu", lambda k: nn.PReLU(k))
layers("in_place_relu", lambda k: nn.BatchNorm2d(k), lambda k: nn.ReLU(inplace=True))
layers("depthwise", lambda k: nn.Conv2d(k, k, 3, padding=1, groups=k), lambda k: nn.ReLU())
layers("dilated", lambda k: nn.Conv2d(k, k, 3, padding=2, dilation=2, padding_mode="reflect"), lambda k: nn.ReLU())
layers("transposed", lambda k: nn.ConvTranspose2d(k, k, 2, stride=2), lambda k: nn.ReLU())
layers("pixel_shuffle", lambda k: nn.Conv2d(k, 4 * k, 1), lambda k: nn.PixelShuffle(2), lambda k: nn.ReLU())
layers("upsampled", lambda k: nn.Upsample(scale_factor=2, mode="bilinear"), lambda k: nn.ReLU())
layers("max_pool", lambda k: nn.ReLU(), lambda k: nn.MaxPool2d(3, 2, 1), lambda k: nn.AvgPool2d(2, ceil_mode=True))
layers("dropouts", lambda k: nn.Dropout2d(0.2), lambda k: nn.ReLU(), lambda k: nn.Dropout(0.3))
layers("new_weight_norm", lambda k: parametrizations.weight_norm(nn.Conv2d(k, k, 3)), lambda k: nn.ReLU())
layers("new_spectral_norm", lambda k: parametrizations.spectral_norm(nn.Conv2d(k, k, 3)), lambda k: nn.ReLU())
layers("orthogonal", lambda k: parametrizations.orthogonal(nn.Conv2d(k, k, 1)), lambda k: nn.ReLU())
layers("old_weight_norm", lambda k: nn.utils.weight_norm(nn.Conv2d(k, k, 3)), lambda k: nn.ReLU())
layers("old_spectral_norm", lambda k: nn.utils.spectral_norm(nn.Conv2d(k, k, 3)), lambda k: nn.ReLU())
layers("scripted_activation", lambda k: torch.jit.script(nn.Softplus()))
layers("frozen_first_layer", lambda k: nn.BatchNorm2d(k).requires_grad_(False), lambda k: nn.ReLU())


class Base(nn.Module):
    """One hidden layer; the kinds below change what happens between `hidden` and `head`."""

    def __init__(self, width: int, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.width = width
        self.hidden = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], 2 * width)
        self.head = nn.Linear(2 * width, classes)
        self.prepare()

    def prepare(self) -> None:
        pass

    def between(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Any:
        return self.head(self.between(torch.relu(self.hidden(x.flatten(1)))))


@kind
class draws_from_python(Base):  # noqa: N801
    def between(self, h):
        return h * 0.5 if self.training and random.random() < 0.5 else h


@kind
class draws_from_numpy(Base):  # noqa: N801
    def between(self, h):
        return h + float(np.random.normal()) * 0.1 if self.training else h


@kind
class draws_from_torch(Base):  # noqa: N801
    def between(self, h):
        return h + 0.1 * torch.randn_like(h) if self.training else h


@kind
class functional_dropout(Base):  # noqa: N801
    def between(self, h):
        return F.dropout(h, 0.4, self.training)


@kind
class counts_calls(Base):  # noqa: N801
    def prepare(self):
        self.calls = 0

    def between(self, h):
        if self.training:
            self.calls += 1
        return h * (1 + 0.01 * min(self.calls, 0))


@kind
class anneals_by_a_counter_in_a_buffer(Base):  # noqa: N801
    def prepare(self):
        self.register_buffer("calls", torch.zeros(()))

    def between(self, h):
        if self.training:
            self.calls = self.calls + 1
        return h * (1 + 1 / (1 + self.calls))


@kind
class moving_average_in_place(Base):  # noqa: N801
    def prepare(self):
        self.register_buffer("mean", torch.zeros(2 * self.width))

    def between(self, h):
        if self.training:
            self.mean.lerp_(h.detach().mean(0), 0.1)
        return h - self.mean


@kind
class moving_average_assigned(Base):  # noqa: N801
    def prepare(self):
        self.register_buffer("mean", torch.zeros(2 * self.width))

    def between(self, h):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
        return h - self.mean


@kind
class branches_on_a_value(Base):  # noqa: N801
    def between(self, h):
        return h * 2 if h.mean() > 0.2 else h / 2


@kind
class loops_until_small(Base):  # noqa: N801
    def between(self, h):
        while h.abs().max().item() > 1:
            h = h / 2
        return h


@kind
class boolean_mask(Base):  # noqa: N801
    def between(self, h):
        scaled = h.clone()
        scaled[h > 0.5] *= 0.1
        return scaled


@kind
class masked_rows(Base):  # noqa: N801
    def between(self, h):
        bright = h.sum(1) > h.sum(1).median()
        scaled = h.clone()
        scaled[bright] = torch.tanh(h[bright])
        return scaled


@kind
class loops_over_the_batch(Base):  # noqa: N801
    def between(self, h):
        return torch.stack([row / (1 + row.norm()) for row in h])


@kind
class sorts_and_picks(Base):  # noqa: N801
    def between(self, h):
        values, places = h.topk(self.width, dim=1)
        return torch.zeros_like(h).scatter(1, places, values)


@kind
class einsum_and_fft(Base):  # noqa: N801
    def between(self, h):
        return torch.einsum("ni,nj->nj", h, torch.fft.rfft(h).abs().repeat(1, 2)[:, : h.shape[1]]) / h.shape[1]


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() < 1)


@kind
class straight_through(Base):  # noqa: N801
    def between(self, h):
        return _Sign.apply(h - 0.3)


@kind
class checkpointed(Base):  # noqa: N801
    def prepare(self):
        self.inner = nn.Linear(2 * self.width, 2 * self.width)

    def between(self, h):
        return checkpoint(lambda t: torch.relu(self.inner(t)), h, use_reentrant=False)


@kind
class stops_gradients(Base):  # noqa: N801
    def between(self, h):
        with torch.no_grad():
            scale = h.norm(dim=1, keepdim=True)
        return h / (1 + scale) + h.detach()


@kind
class scales_gradients_by_a_hook(Base):  # noqa: N801
    def between(self, h):
        if h.requires_grad:
            h.register_hook(lambda gradient: gradient * 0.3)
        return h


@kind
class full_backward_hook(Base):  # noqa: N801
    def prepare(self):
        self.head.register_full_backward_hook(lambda module, inputs, outputs: tuple(g * 0.5 for g in inputs))


@kind
class forward_hook_that_changes(Base):  # noqa: N801
    def prepare(self):
        self.hidden.register_forward_hook(lambda module, inputs, output: output * 1.5)


@kind
class forward_hook_that_collects(Base):  # noqa: N801
    def prepare(self):
        self.seen = []
        self.hidden.register_forward_hook(lambda module, inputs, output: self.seen.append(output.detach().mean()))


@kind
class tied_weights(Base):  # noqa: N801
    def prepare(self):
        self.inner = nn.Linear(2 * self.width, 2 * self.width)
        self.again = nn.Linear(2 * self.width, 2 * self.width)
        self.again.weight = self.inner.weight

    def between(self, h):
        return self.again(torch.relu(self.inner(h)))


@kind
class weight_through_a_list(Base):  # noqa: N801
    def prepare(self):
        self.references = [self.hidden.weight]

    def between(self, h):
        return h * self.references[0].mean()


@kind
class clamps_its_weights(Base):  # noqa: N801
    def between(self, h):
        self.head.weight.data.clamp_(-0.2, 0.2)
        return h


@kind
class constant_attribute(Base):  # noqa: N801
    def prepare(self):
        self.scale = torch.linspace(0.5, 1.5, 2 * self.width)

    def between(self, h):
        return h * self.scale.to(h)


@kind
class unsaved_constant_buffer(Base):  # noqa: N801
    def prepare(self):
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 2 * self.width), persistent=False)

    def between(self, h):
        return h * self.scale


@kind
class parameter_list(Base):  # noqa: N801
    def prepare(self):
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(2 * self.width)) for _ in range(2)])
        self.bias = nn.ParameterDict({"shift": nn.Parameter(torch.zeros(2 * self.width))})

    def between(self, h):
        for scale in self.scales:
            h = h * scale
        return h + self.bias["shift"]


@kind
class unused_parameter(Base):  # noqa: N801
    def prepare(self):
        self.spare = nn.Linear(3, 3)


@kind
class zero_initialised_branch(Base):  # noqa: N801
    def prepare(self):
        self.gate = nn.Parameter(torch.zeros(()))

    def between(self, h):
        noise = random.random() if self.training else 0.5  # the gate hides it from the first step
        return h + self.gate * torch.sin(h * (1 + noise))


@kind
class gated_experts(Base):  # noqa: N801
    def prepare(self):
        self.experts = nn.ModuleDict({name: nn.Linear(2 * self.width, 2 * self.width) for name in "ab"})
        self.gate = nn.Linear(2 * self.width, 2)

    def between(self, h):
        shares = self.gate(h).softmax(1)
        return sum(shares[:, i : i + 1] * expert(h) for i, expert in enumerate(self.experts.values()))


@kind
class bilinear_and_embedding(Base):  # noqa: N801
    def prepare(self):
        self.product = nn.Bilinear(2 * self.width, 2 * self.width, 2 * self.width)
        self.table = nn.Embedding(5, 2 * self.width)

    def between(self, h):
        places = (h.detach().mean(1) * 4).long().clamp(0, 4)
        return self.product(h, h) * 0.1 + self.table(places)


@kind
class unstructured_pruning(Base):  # noqa: N801
    def prepare(self):
        prune.l1_unstructured(self.head, "weight", amount=0.3)


@kind
class changes_its_input(Base):  # noqa: N801
    def forward(self, x):
        x.mul_(0.5)
        return super().forward(x)


class _Sequence(nn.Module):
    """Rows of the image as a sequence of 8 tokens of 8 numbers."""

    def __init__(self, middle: nn.Module, classes: int) -> None:
        super().__init__()
        self.middle, self.head = middle, nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        result = self.middle(x.flatten(0, 1) if x.shape[1] == 1 else x.mean(1))
        return self.head((result[0] if isinstance(result, tuple) else result).mean(1))


def sequence(name, middle_of):
    KINDS[name] = lambda width, image_shape, classes: _Sequence(middle_of(width), classes)


class _SelfAttention(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x, x, x, need_weights=False)


sequence("lstm", lambda k: nn.LSTM(8, 8, batch_first=True))
sequence("gru_of_two_directions", lambda k: nn.GRU(8, 4, batch_first=True, bidirectional=True))
sequence("attention", lambda k: _SelfAttention(8, 2, batch_first=True))
sequence("attention_with_dropout", lambda k: _SelfAttention(8, 2, dropout=0.2, batch_first=True))
sequence("transformer_layer", lambda k: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True))


class _Normed(nn.Module):
    def __init__(self, width: int, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], width, 3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(width * (image_shape[1] - 2) * (image_shape[2] - 2), classes)
        self.prepare()

    def prepare(self) -> None:
        pass

    def forward(self, x: Tensor) -> Any:
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).flatten(1)))


@kind
class frozen_batch_norm(_Normed):  # noqa: N801
    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


@kind
class hook_on_a_batch_norm(_Normed):  # noqa: N801
    def prepare(self):
        self.norm.register_forward_hook(lambda module, inputs, output: output * 0.5)


@kind
class hook_before_a_dropout(_Normed):  # noqa: N801
    def prepare(self):
        self.drop.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0.5,))


@kind
class derived_batch_norm(_Normed):  # noqa: N801
    def prepare(self):
        class Shifted(nn.BatchNorm2d):
            def forward(self, x):
                return torch.relu(super().forward(x)) - 0.1

        self.norm = Shifted(self.norm.num_features)


@kind
class reads_its_batch_norm(_Normed):  # noqa: N801
    def forward(self, x):
        assert isinstance(self.norm, nn.BatchNorm2d)
        return super().forward(x) * (1 + self.norm.running_var.mean())


@kind
class momentum_that_decays(_Normed):  # noqa: N801
    def forward(self, x):
        if self.training:
            self.norm.momentum = max(0.01, self.norm.momentum * 0.9)
        return super().forward(x)


@kind
class returns_a_tuple(_Normed):  # noqa: N801
    def forward(self, x):
        return super().forward(x), x.mean()


@kind
class returns_a_dictionary(_Normed):  # noqa: N801
    def forward(self, x):
        return {"logits": super().forward(x), "features": x.flatten(1)}


class _Output:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


@kind
class returns_an_object(_Normed):  # noqa: N801
    def forward(self, x):
        return _Output(super().forward(x))


# Their predictions need more than their state dict: they train, but a loaded copy is another network.


OUTSIDE: dict[str, Any] = {}


def outside(builder):
    OUTSIDE[builder.__name__] = KINDS[builder.__name__] = builder
    return builder


@outside
class random_frequencies(Base):  # noqa: N801
    def prepare(self):
        self.frequencies = torch.from_numpy(np.random.default_rng().normal(size=2 * self.width)).float()

    def between(self, h):
        return torch.sin(h * 3 * self.frequencies.to(h))


@outside
class random_wiring(Base):  # noqa: N801
    def prepare(self):
        self.order = list(np.random.default_rng().permutation(2 * self.width))

    def between(self, h):
        return h[:, self.order]


@outside
class unsaved_random_buffer(Base):  # noqa: N801
    def prepare(self):
        values = torch.from_numpy(np.random.default_rng().normal(size=2 * self.width)).float()
        self.register_buffer("scale", values, persistent=False)

    def between(self, h):
        return h * 3 * self.scale


@outside
class anneals_by_a_counter(Base):  # noqa: N801
    def prepare(self):
        self.calls = 0

    def between(self, h):
        if self.training:
            self.calls += 1
        return torch.sin(h * (1 + self.calls))


@outside
class unsaved_moving_average(Base):  # noqa: N801
    def prepare(self):
        self.mean = torch.zeros(())

    def between(self, h):
        if self.training:
            self.mean = self.mean.to(h) + h.detach().mean()
        return torch.sin(h * (1 + self.mean))


# Their predictions are no function of the image.
UNSTEADY: dict[str, Any] = {}


def unsteady(builder):
    UNSTEADY[builder.__name__] = builder
    return builder


@unsteady
class keeps_dropout_on(_Normed):  # noqa: N801
    def train(self, mode=True):
        super().train(mode)
        self.drop.train()
        return self


@unsteady
class batch_statistics_in_evaluation(_Normed):  # noqa: N801
    def train(self, mode=True):
        super().train(mode)
        self.norm.train()
        return self


@unsteady
class noise_in_evaluation(Base):  # noqa: N801
    def between(self, h):
        return h + torch.randn_like(h)


@unsteady
class looks_at_its_batch(Base):  # noqa: N801
    def between(self, h):
        return (h - h.mean(0)) * 3

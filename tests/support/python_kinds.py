"""Kinds of networks whose Python code does what no list of tensor operations can: "support.python_kinds:NAME"."""

import itertools
import random
import threading
from types import SimpleNamespace

import numpy as np
import torch
from support.network_kinds import UNSTEADY, Base, Normed, between, inner, mean, same, with_attribute
from torch import nn
from torch.utils.checkpoint import checkpoint

PYTHON_KINDS: dict = {}
SHARED: dict = {}  # they change what is outside of them


def prepared(*steps):
    return lambda net: [step(net) for step in steps]


def experts(net):
    net.experts, net.router = nn.ModuleList([nn.Linear(net.size, net.size) for _ in range(6)]), nn.Linear(net.size, 6)


def hit_experts(net, h):
    """As Mixtral does; an expert without rows gets no gradient at all, which Adam takes for no step."""
    weights, chosen = net.router(h).softmax(1).max(1)
    mixed = h
    for number, expert in enumerate(net.experts):
        rows = (chosen == number).nonzero().squeeze(1)
        if len(rows):
            mixed = mixed.index_add(0, rows, expert(h[rows]) * weights[rows, None])
    return mixed


def skipped(net, h):
    """LayerDrop: a layer without gradient in some steps."""
    return h if net.training and torch.rand([]) < 0.5 else h + net.inner(h)


def two(net):
    inner(net)
    net.average = nn.Linear(net.size, net.size).requires_grad_(False)


def averaged(net, h):
    """As MoCo writes it: new data for a parameter."""
    if net.training:
        for mean, own in zip(net.average.parameters(), net.inner.parameters(), strict=True):
            mean.data = mean.data * 0.9 + own.data * 0.1
    return net.inner(h) + net.average(h)


def downhill(net, h):
    """A gradient of what it computes, in evaluation mode too."""
    with torch.enable_grad():
        point = h if h.requires_grad else h.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(torch.tanh(net.inner(point)).square().sum(), point, create_graph=True)
    return h - 0.3 * gradient


class Counter:
    __slots__ = ("calls",)


def warmed_up(net, h):
    """The effect comes late: a few steps do not show it."""
    net.counter.calls += net.training
    return h * 0.5 if net.training and net.counter.calls < 5 else h


def in_turn(net, h):
    with net.lock:
        return torch.sin(h)


def averaged_anew(net, h):
    net.mean = 0.5 * net.mean + 0.5 * h.detach().mean(0)
    return h - net.mean


def with_counter(net):
    net.counter = Counter()
    net.counter.calls = 0


def complex_weights(net):
    net.frequencies = nn.Parameter(torch.randn(net.size // 2 + 1, dtype=torch.cfloat) * 0.5 + 1)


def filtered(net, h):
    return torch.fft.irfft(torch.fft.rfft(h) * net.frequencies, n=net.size)


def stepping(net):
    step = torch.optim.SGD([net.head.bias], lr=0.1).step
    net.head.bias.register_post_accumulate_grad_hook(lambda bias: step())


def hooks(**hooks):
    """Kinds with a hook on a parameter."""
    for name, hook in hooks.items():
        between(lambda net, hook=hook: net.head.weight.register_hook(hook), PYTHON_KINDS, **{name: same})


between(inner, PYTHON_KINDS, reentrant_checkpoint=lambda net, h: checkpoint(net.inner, h, use_reentrant=True))
between(inner, PYTHON_KINDS, layers_skipped_at_random=skipped, gradient_within=downhill)
between(mean, UNSTEADY, averages_in_evaluation=averaged_anew)
between(kinds=PYTHON_KINDS, made_at_first=lambda net, h: h * vars(net).setdefault("own", torch.ones(net.size).to(h)))
hidden_layer = with_attribute("own", lambda net: [nn.Linear(net.size, net.size)])
between(hidden_layer, PYTHON_KINDS, moves_a_hidden_layer=lambda net, h: net.own[0].to(h.dtype)(h))
between(experts, PYTHON_KINDS, experts_that_are_hit=hit_experts)
between(two, PYTHON_KINDS, averages_its_own_weights=averaged)
between(with_counter, PYTHON_KINDS, warms_up_by_a_counter_in_slots=warmed_up)
between(lambda net: vars(net).update(lock=threading.Lock()), PYTHON_KINDS, holds_a_lock=in_turn)
between(kinds=PYTHON_KINDS, guards_against_large_values=lambda net, h: h.clamp(max=1.2) if h.abs().max() > 3 else h)
between(complex_weights, PYTHON_KINDS, complex_weights=filtered)
own_function = with_attribute("own", lambda net: lambda h: torch.relu(net.inner(h)))
between(prepared(inner, own_function), PYTHON_KINDS, function_over_itself=lambda net, h: net.own(h))
between(stepping, PYTHON_KINDS, steps_in_the_backward_pass=same)
hooks(hook_on_a_parameter=lambda g: g.clamp(-0.01, 0.01), draws_in_the_backward_pass=lambda g: g * torch.rand(()))
between(
    lambda net: setattr(net, "rows", nn.Dropout1d(0.3)),
    PYTHON_KINDS,
    dropout_of_whole_rows=lambda net, h: net.rows(h),
    drops_in_training_only=lambda net, h: net.rows(h) if net.training else h,
)


class MergesInEvaluation(Base):
    """Evaluation mode adds weights of low rank to frozen ones, as LoRA's own code does; it returns no network."""

    merged = False

    def prepare(self):
        inner(self)
        self.inner.weight.requires_grad_(False)
        self.up, self.down = nn.Parameter(torch.zeros(self.size, 2)), nn.Parameter(torch.randn(2, self.size))

    def train(self, mode=True):
        super().train(mode)
        if self.merged == mode:
            self.inner.weight.data += (self.up @ self.down).data * (-1 if mode else 1)
            self.merged = not mode

    def between(self, h):
        return self.inner(h) if self.merged else self.inner(h) + h @ (self.up @ self.down).T


class BranchesInEvaluation(Normed):
    def forward(self, x):
        scores = super().forward(x)
        return scores if self.training or scores.max() > 0 else SimpleNamespace(logits=-scores)


def lazy(width, image_shape, classes):
    convolution, norm = nn.LazyConv2d(width, 3, bias=False), nn.LazyBatchNorm2d()
    return nn.Sequential(convolution, norm, nn.Flatten(), nn.LazyLinear(classes))


PYTHON_KINDS |= {
    "branches_in_evaluation": BranchesInEvaluation,
    "merges_in_evaluation": MergesInEvaluation,
    "in_autocast": type("InAutocast", (Normed,), {"forward": torch.autocast("cpu", torch.bfloat16)(Normed.forward)}),
    "traced": lambda width, image_shape, classes: torch.fx.symbolic_trace(Normed(width, image_shape, classes)),
    "lazy": lazy,
    "scripted": lambda width, image_shape, classes: torch.jit.script(Normed(width, image_shape, classes)),
    "data_parallel": lambda width, image_shape, classes: nn.DataParallel(Normed(width, image_shape, classes)),
}

calls, table, average, shared_layer = 0, {"of": {"calls": 0}}, torch.zeros(()), nn.Linear(8, 8)
numbers, queue = itertools.count(), (1.0 + number for number in itertools.count())
of_python, of_numpy, of_torch = random.Random(0), np.random.default_rng(0), torch.Generator()
first_scale = None


def counted(net, h):
    global calls
    calls += net.training
    return h / calls


def scaled_as_at_first(net, h):
    global first_scale
    first_scale = h.detach().std() if first_scale is None else first_scale
    return h / first_scale


def counted_in_the_class(net, h):
    Counter.of_all = getattr(Counter, "of_all", 1) + net.training
    return h / Counter.of_all


between(
    kinds=SHARED,
    counts_in_a_variable=counted,
    scales_as_at_first=scaled_as_at_first,
    counts_in_a_class=counted_in_the_class,
    counts_in_a_table=lambda net, h: table["of"].update(calls=table["of"]["calls"] + 1) or h / table["of"]["calls"],
    counts_in_a_default=lambda net, h, seen=[0]: seen.append(0) or h / len(seen),
    averages_outside=lambda net, h: h - average.lerp_(h.detach().mean().to(average), 0.1),
    counts_by_an_iterator=lambda net, h: h / (1 + next(numbers)),
    generates=lambda net, h: h / next(queue),
    draws_from_a_python_generator=lambda net, h: h * of_python.random(),
    draws_from_a_numpy_generator=lambda net, h: h * of_numpy.random(),
    draws_from_a_torch_generator=lambda net, h: h * torch.rand((), generator=of_torch),
)
between(lambda net: net.hidden.register_forward_hook(lambda layer, x, h: counted(layer, h)), SHARED, hook_counts=same)
between(lambda net: setattr(net, "inner", shared_layer), SHARED, shares_a_layer=lambda net, h: net.inner(h))
globals().update(PYTHON_KINDS | SHARED | UNSTEADY)

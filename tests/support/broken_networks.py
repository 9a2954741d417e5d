"""Networks that cannot be trained, as builders `(width, image_shape, classes)`: "support.broken_networks:NAME"."""

import sys

import numpy as np
import torch
from torch import nn


def network(forward=lambda net, x: net.head(x.flatten(1)), too_many=0):
    """A builder of a network with this forward pass. Every call defines the class anew, as users' builders do."""

    def build(width, image_shape, classes):
        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(64, classes + too_many)

            def forward(self, x):
                return forward(self, x)

        return Network()

    return build


def with_outputs(change):
    return network(lambda net, x: change(net.head(x.flatten(1))))


def stops(*_):
    sys.exit("no licence")


def fails(*_):
    raise RuntimeError("first line\nsecond line")


def state_outside(width, image_shape, classes):
    frequencies = torch.from_numpy(np.random.default_rng().normal(size=64)).float()
    return network(lambda net, x: net.head(torch.sin(20 * x.flatten(1) * frequencies)))(width, image_shape, classes)


builder_fails = lambda width, image_shape, classes: fails()  # noqa: E731
builder_stops = lambda width, image_shape, classes: stops()  # noqa: E731
returns_a_class = lambda width, image_shape, classes: nn.Linear  # noqa: E731
takes_other_parameters = lambda channels, size: nn.Linear(channels, size)  # noqa: E731
not_callable = 5
forward_fails, forward_stops = network(fails), network(stops)
too_many_classes = network(too_many=1)
returns_no_scores, returns_text = with_outputs(lambda scores: {"features": scores}), with_outputs(str)
without_gradient = with_outputs(torch.detach)
one_probability = with_outputs(lambda scores: scores[:, 0].sigmoid())
returns_classes = with_outputs(lambda scores: scores.argmax(1))
complex_scores = with_outputs(lambda scores: scores.to(torch.complex64))
frozen = lambda width, image_shape, classes: network()(width, image_shape, classes).requires_grad_(False)  # noqa: E731
on_the_meta_device = lambda width, image_shape, classes: network()(width, image_shape, classes).to("meta")  # noqa: E731
fails_in_training = network(lambda net, x: fails() if net.training else net.head(x.flatten(1)))
fails_in_evaluation = network(lambda net, x: net.head(x.flatten(1)) if net.training else fails())

BROKEN = [
    *("builder_fails", "builder_stops", "returns_a_class"),
    *("takes_other_parameters", "not_callable", "forward_fails", "forward_stops", "too_many_classes"),
    *("returns_no_scores", "returns_text", "without_gradient", "returns_classes", "complex_scores", "state_outside"),
    *("frozen", "on_the_meta_device", "fails_in_training", "fails_in_evaluation"),
]

WORKING = {
    "nan_from_the_start": with_outputs(lambda scores: scores * torch.nan),
    "defined_anew": network(),
}
globals().update(WORKING)

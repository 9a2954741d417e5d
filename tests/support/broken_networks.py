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


BROKEN = {
    "builder_fails": lambda width, image_shape, classes: fails(),
    "builder_stops": lambda width, image_shape, classes: stops(),
    "returns_a_class": lambda width, image_shape, classes: nn.Linear,
    "takes_other_parameters": lambda channels, size: nn.Linear(channels, size),
    "not_callable": 5,
    "forward_fails": network(fails),
    "forward_stops": network(stops),
    "too_many_classes": network(too_many=1),
    "returns_no_scores": with_outputs(lambda scores: {"features": scores}),
    "returns_text": with_outputs(str),
    "without_gradient": with_outputs(torch.detach),
    "one_probability": with_outputs(lambda scores: scores[:, 0].sigmoid()),
    "returns_classes": with_outputs(lambda scores: scores.argmax(1)),
    "complex_scores": with_outputs(lambda scores: scores.to(torch.complex64)),
    "state_outside": state_outside,
    "frozen": lambda width, image_shape, classes: network()(width, image_shape, classes).requires_grad_(False),
    "on_the_meta_device": lambda width, image_shape, classes: network()(width, image_shape, classes).to("meta"),
    "fails_in_training": network(lambda net, x: fails() if net.training else net.head(x.flatten(1))),
    "fails_in_evaluation": network(lambda net, x: net.head(x.flatten(1)) if net.training else fails()),
}
WORKING = {
    "nan_from_the_start": with_outputs(lambda scores: scores * torch.nan),
    "defined_anew": network(),
}
globals().update(BROKEN | WORKING)

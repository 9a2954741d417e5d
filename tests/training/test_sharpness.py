import copy

import pytest
import torch
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.training.network import StackedState
from dbviz_ray.training.sharpness import RADIUS, sharpness


def by_hand(network, images, labels):
    """Autograd on an ordinary module, its weights moved and moved back."""
    network = copy.deepcopy(network).eval()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in network.parameters()]).norm()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += RADIUS * parameter.grad / norm
        return (F.cross_entropy(network(images), labels) - loss).item()


@pytest.mark.parametrize("architecture", ["fully_connected", "resnet18_width"])
def test_sharpness_of_every_member_is_its_own(architecture):
    networks = [initialised_network(architecture, 2, (1, 8, 8), 10, seed).double() for seed in range(3)]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 1, 8, 8, dtype=torch.float64, generator=generator)  # more than one batch
    labels = torch.randint(10, (3, 300), generator=generator)
    expected = [by_hand(network, images, own) for network, own in zip(networks, labels, strict=True)]
    assert sharpness(StackedState(networks), images, labels).tolist() == pytest.approx(expected, rel=1e-9)

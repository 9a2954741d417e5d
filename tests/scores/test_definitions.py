"""The label maps and both scores are those of the definitions, computed naively and in full."""

import numpy as np
import pytest
import torch
from support.made_up_runs import region_sizes
from support.random_planes import random_planes
from torch import nn

from dbviz_ray.analysis.scores.agreement import agreement
from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.architectures import initialised_network
from dbviz_ray.evaluation.label_maps import label_planes

RESOLUTION = 15
NETWORKS = [
    ("fully_connected", 32, (1, 8, 8), (2, 3)),
    ("fully_connected_deep", 32, (1, 8, 8), (1, 2)),
    ("resnet18_width", 2, (3, 8, 8), (2, 3)),
]
"""Architecture, width, images, and the seeds of two networks that agree in part."""


@torch.no_grad()
def naive_map(network: nn.Module, images: np.ndarray, margin: float) -> list[list[int]]:
    """Rows of b, within a row by a: x1 + a e1 + b e2, each point made and forwarded alone."""
    x1, x2, x3 = images.astype(np.float64)
    e1 = (x2 - x1) / np.sqrt(((x2 - x1) ** 2).sum())
    orthogonal = (x3 - x1) - ((x3 - x1) * e1).sum() * e1
    e2 = orthogonal / np.sqrt((orthogonal**2).sum())
    places = [(((x - x1) * e1).sum(), ((x - x1) * e2).sum()) for x in (x1, x2, x3)]
    axes = []
    for values in zip(*places, strict=True):
        low, high = min(values), max(values)
        start, length = low - margin * (high - low), (high - low) * (1 + 2 * margin)
        axes.append([start + length * step / (RESOLUTION - 1) for step in range(RESOLUTION)])
    return [[int(network(torch.from_numpy(x1 + a * e1 + b * e2)[None])[0].argmax()) for a in axes[0]] for b in axes[1]]


@pytest.mark.parametrize(("architecture", "width", "shape", "seeds"), NETWORKS)
@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_label_maps_and_scores_equal_the_definitions(architecture, width, shape, seeds, margin, cpu):
    networks = [initialised_network(architecture, width, shape, 10, seed).double().eval() for seed in seeds]
    for network in networks:
        nn.init.zeros_(network[-1].bias)  # so that an untrained network has several regions
    planes = random_planes(4, RESOLUTION, shape, margin)
    maps = np.stack([label_planes(network, planes, cpu).labels.numpy() for network in networks])
    naive = [[naive_map(network, images, margin) for images in planes.anchors.numpy()] for network in networks]
    assert maps.tolist() == naive
    reproducibility = agreement(maps.reshape(2, 4, -1))[:, 0, 1]
    assert reproducibility.tolist() == [np.equal(*on_plane).mean() for on_plane in zip(*naive, strict=True)]
    fragmentation = [regions_of(of_model, 0).fragmentation.tolist() for of_model in maps]
    assert fragmentation == [[len(region_sizes(np.array(labels))) for labels in of_model] for of_model in naive]
    assert max(map(max, fragmentation)) > 1  # there is something to get wrong
    assert 0 < reproducibility.mean() < 1

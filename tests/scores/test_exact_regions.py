import itertools

import numpy as np
import pytest
import torch
from conftest import small_sweep
from support.exact_regions import Regions, exact_regions
from support.random_planes import planes_through, random_planes
from torch import nn

from dbviz_ray.analysis.scores.regions import class_shares, extrapolated, nested_resolutions, regions_of
from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.planes import PlaneSet, draw_plane_set
from dbviz_ray.training.cohort import train_cohort

POINT = 1 / 50**2
"""Share of a plane that a point of the usual grid stands for."""


def unit_square(resolution: int = 50) -> PlaneSet:
    """The plane of images of two pixels, from (0, 0) to (1, 1)."""
    return planes_through(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).view(1, 3, 1, 1, 2), resolution, margin=0)


def network_of(*layers: tuple[list[list[float]], list[float]]) -> nn.Sequential:
    """Layers of these weights and biases, with ReLU between them."""
    modules: list[nn.Module] = [nn.Flatten()]
    for weight, bias in layers:
        linear = nn.Linear(len(weight[0]), len(weight))
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(weight))
            linear.bias.copy_(torch.tensor(bias))
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def counts_on_grids(maps: np.ndarray, least: float = 0.0) -> dict[int, np.ndarray]:
    """Regions with at least this share of the plane, `[planes]` on each grid within the maps' own."""
    grids = nested_resolutions(maps.shape[1])
    return {points: regions_of(maps[:, ::stride, ::stride], least).large_regions for stride, points in grids}


DIAGONAL = ([[1.0, -1.0], [-1.0, 1.0]], [0.0, 0.0])  # x - y where positive, y - x where positive
CENTRED = ([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [-0.5, 0.5, -0.5, 0.5])  # sums: |x - .5|, |y - .5|
TENT = [[2.0, -4.0]]  # of relu(x) and relu(x - .5): up to 1 at x = .5 and down to 0

HAND_MADE = {
    "equal scores: the first class": ([([[1.0, 2.0], [1.0, 2.0]], [0.0, 0.0])], [(0, 1.0)]),
    "exclusive or, with a diagonal": (
        [DIAGONAL, ([[1.0, 1.0], [0.0, 0.0]], [0.0, 0.25])],
        [(1, 0.4375), (0, 0.28125), (0, 0.28125)],
    ),
    "an island": ([CENTRED, ([[1.0] * 4, [0.0] * 4], [0.0, 0.25])], [(0, 0.875), (1, 0.125)]),
    "four triangles that meet in a point": (
        [CENTRED, ([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]], [0.0, 0.0])],
        [(0, 0.25), (0, 0.25), (1, 0.25), (1, 0.25)],
    ),
    "a tent of a tent": (
        [([[1.0, 0.0], [1.0, 0.0]], [0.0, -0.5]), (TENT * 2, [0.0, -0.5]), ([[0.0, 0.0], TENT[0]], [0.5, 0.0])],
        [(1, 0.25), (1, 0.25), (0, 0.25), (0, 0.125), (0, 0.125)],
    ),
}


@pytest.mark.parametrize(("layers", "expected"), HAND_MADE.values(), ids=HAND_MADE)
def test_regions_by_hand(layers, expected):
    [regions] = exact_regions(network_of(*layers), unit_square())
    assert sorted((number, round(area, 6)) for number, area in regions) == sorted(expected)


@pytest.fixture(scope="module")
def on_grids() -> tuple[list[Regions], np.ndarray]:
    """Exact regions and label maps `[planes, 401, 401]` of random networks and of some that memorised noisy labels."""
    sweep = small_sweep(
        dataset={"name": "digits", "train_size": 500, "test_size": 200},
        grid={"width": [8, 32], "label_noise": [0.2], "seed": [0, 1]},
        training={"epochs": 100, "batch_size": 125, "learning_rate": 0.02, "evaluate_every": 100},
        planes={"test": {"count": 10, "resolution": 401}},
    )
    data = load_dataset(sweep.dataset, "unused")
    pairs, planes = [], random_planes(10, 401)
    for width, seed in itertools.product((8, 64), (0, 1)):
        network = initialised_network("fully_connected", width, (1, 8, 8), 10, seed)
        nn.init.zeros_(network[-1].bias)  # so that an untrained network has several regions
        pairs.append((network, planes))
    planes = draw_plane_set(sweep.planes["test"], data)
    for cohort in sweep.cohorts():
        for trained in train_cohort(cohort.models, data, torch.device("cpu"), resources=ResourcesConfig(stack=2)):
            network = initialised_network("fully_connected", trained.config.width, data.image_shape, 10)
            network.load_state_dict(trained.weights)
            pairs.append((network, planes))
    exact = [regions for network, planes in pairs for regions in exact_regions(network, planes)]
    maps = [label_planes(network, planes, torch.device("cpu")).labels.numpy() for network, planes in pairs]
    return exact, np.concatenate(maps)


def test_refining_the_grid_converges_to_the_exact_count(on_grids):
    exact, maps = on_grids
    truth = np.array([sum(area >= POINT for _, area in regions) for regions in exact])
    counts = counts_on_grids(maps, POINT)
    assert list(counts) == [26, 51, 101, 201, 401]
    errors = [np.abs(count - truth).mean() for count in counts.values()]
    noise = 0.025  # two of the 80 planes
    assert all(finer <= coarser + noise for coarser, finer in itertools.pairwise(errors))
    assert errors[-1] < 0.4 * errors[1]
    assert errors[-1] < 0.05
    for coarse, fine in ((51, 101), (101, 201)):
        limit = extrapolated({points: counts[points] for points in (coarse, fine)})
        assert abs((limit - truth).mean()) <= abs((counts[coarse] - truth).mean()) + noise


def test_areas_on_the_grid_converge_to_the_exact_ones(on_grids):
    exact, maps = on_grids
    truth = np.stack([np.bincount(*zip(*regions, strict=True), minlength=10) for regions in exact])
    # A class's border crosses the plane a few times, so its area is off by a few half steps of 1/400 at most.
    assert np.abs(class_shares(maps, 10) - truth).max() < 3 / 400
    errors = [np.abs(class_shares(maps[:, ::s, ::s], 10) - truth).mean() for s in (16, 8, 4, 2, 1)]
    assert all(finer < 0.7 * coarser for coarser, finer in itertools.pairwise(errors))

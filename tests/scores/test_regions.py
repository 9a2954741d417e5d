"""Regions on grids: against skimage, naive definitions and, for networks of ReLUs, the exact ones."""

import itertools

import numpy as np
import pytest
import torch
from conftest import small_sweep
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from support.exact_regions import Regions, exact_regions
from support.made_up_runs import region_sizes
from support.random_planes import random_planes
from torch import nn

from dbviz_ray.analysis.scores.agreement import agreement
from dbviz_ray.analysis.scores.regions import class_shares, extrapolated, nested_resolutions, regions_of
from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.planes import draw_plane_set
from dbviz_ray.training.cohort import train_cohort

POINT = 1 / 50**2
"""Share of a plane that a point of the usual grid stands for."""


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


def test_counts_and_areas_on_finer_grids_converge_to_the_exact_ones():
    exact, maps = on_grids()
    truth = np.array([sum(area >= POINT for _, area in regions) for regions in exact])
    grids = {points: maps[:, ::stride, ::stride] for stride, points in nested_resolutions(401)}
    counts = {points: regions_of(own, POINT).large_regions for points, own in grids.items()}
    assert list(counts) == [26, 51, 101, 201, 401]
    errors = [np.abs(count - truth).mean() for count in counts.values()]
    noise = 0.025  # two of the 80 planes
    assert all(finer <= coarser + noise for coarser, finer in itertools.pairwise(errors))
    assert errors[-1] < 0.4 * errors[1]
    assert errors[-1] < 0.05
    for coarse, fine in ((51, 101), (101, 201)):
        limit = extrapolated({points: counts[points] for points in (coarse, fine)})
        assert abs((limit - truth).mean()) <= abs((counts[coarse] - truth).mean()) + noise
    truth = np.stack([np.bincount(*zip(*regions, strict=True), minlength=10) for regions in exact])
    # A class's border crosses the plane a few times, so its area is off by a few half steps of 1/400 at most.
    assert np.abs(class_shares(maps, 10) - truth).max() < 3 / 400
    errors = [np.abs(class_shares(maps[:, ::s, ::s], 10) - truth).mean() for s in (16, 8, 4, 2, 1)]
    assert all(finer < 0.7 * coarser for coarser, finer in itertools.pairwise(errors))


CLASSES = 5
shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))
label_stacks = npst.arrays(np.uint8, shapes, elements=st.integers(0, CLASSES - 1))


@settings(max_examples=200)
@given(label_stacks, st.sampled_from([0.0, 0.02, 0.1, 0.25, 0.5, 1.0]))
def test_regions_equal_those_of_skimage(maps, share):
    regions, shares = regions_of(maps, share), class_shares(maps, CLASSES)
    points = maps[0].size
    for plane, labels in enumerate(maps):
        sizes = region_sizes(labels)
        assert regions.fragmentation[plane] == len(sizes)
        assert regions.large_regions[plane] == (sizes >= share * points).sum()
        assert regions.largest_region[plane] == max(sizes) / points
        assert shares[plane].tolist() == (np.bincount(labels.ravel(), minlength=CLASSES) / points).tolist()


@given(st.integers(2, 2000))
@example(201)
@example(50)
def test_nested_grids_are_all_that_reach_from_edge_to_edge(resolution):
    """Every second point, every fourth and so on, as long as a side keeps 25 points."""
    halvings = [(2**n, (resolution - 1) / 2**n + 1) for n in range(11)]
    expected = [(stride, points) for stride, points in halvings if stride == 1 or (points >= 25 and points % 1 == 0)]
    assert nested_resolutions(resolution) == expected[::-1]


def test_extrapolation_finds_the_limit_of_an_error_by_area():
    truth, error = np.array([4.0, 7.0]), np.array([300.0, -100.0])
    counts = {points: truth + error / (points - 1) ** 2 for points in (26, 51, 101)}
    np.testing.assert_allclose(extrapolated(counts), truth, rtol=1e-12)
    assert extrapolated({51: np.array([5]), 101: np.array([8])}).tolist() == [9.0]


def test_regions_of_many_planes_are_found_some_at_a_time(monkeypatch):
    maps = np.random.default_rng(0).integers(2**16 - 3, 2**16, (7, 5, 6)).astype(np.uint16)
    whole = regions_of(maps, 0.2)
    monkeypatch.setattr("dbviz_ray.analysis.scores.regions.TOGETHER", 61)
    for found, expected in zip(regions_of(maps, 0.2), whole, strict=True):
        assert np.array_equal(found, expected)
    small = regions_of((maps - (2**16 - 3)).astype(np.uint8), 0.2)
    assert all(np.array_equal(found, expected) for found, expected in zip(small, whole, strict=True))


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

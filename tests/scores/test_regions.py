import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from support.made_up_runs import region_sizes

from dbviz_ray.analysis.scores.regions import class_shares, extrapolated, nested_resolutions, regions_of

CLASSES = 5
label_stacks = npst.arrays(
    np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, CLASSES - 1)
)


def test_regions_by_hand():
    maps = np.array(
        [
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [[2, 0, 0, 2], [0, 0, 0, 0], [1, 1, 1, 2]],
        ],
        dtype=np.uint8,
    )
    regions = regions_of(maps, minimum_share=0.25)
    assert regions.fragmentation.tolist() == [1, 5]
    assert regions.large_regions.tolist() == [1, 2]  # 12; and of 6, 3, 1, 1, 1 points the first two
    assert regions.largest_region.tolist() == [1, 0.5]
    assert class_shares(maps, 3).tolist() == [[1, 0, 0], [0.5, 0.25, 0.25]]
    assert class_shares(maps, 4)[:, 3].tolist() == [0, 0]


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


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [
        (201, [(8, 26), (4, 51), (2, 101), (1, 201)]),
        (50, [(1, 50)]),
        (51, [(2, 26), (1, 51)]),
        (49, [(2, 25), (1, 49)]),
        (20, [(1, 20)]),
    ],
)
def test_the_grids_within_a_grid(resolution, expected):
    assert nested_resolutions(resolution) == expected


@given(st.integers(2, 2000))
def test_a_nested_grid_reaches_from_edge_to_edge(resolution):
    for stride, points in nested_resolutions(resolution):
        places = np.arange(resolution)[::stride]
        assert (len(places), places[-1]) == (points, resolution - 1)
        assert points >= 25 or stride == 1


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

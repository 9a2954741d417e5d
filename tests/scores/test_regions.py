import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from support.made_up_runs import region_sizes

from dbviz_ray.analysis.scores.regions import class_shares, extrapolated, nested_resolutions, regions_of

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

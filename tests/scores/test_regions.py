from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from skimage.measure import label as skimage_label

from dbviz_ray.analysis.scores.regions import (
    class_shares,
    counts_by_resolution,
    extrapolated,
    nested_resolutions,
    region_counts,
    regions_of,
)

CLASSES = 5
label_stacks = npst.arrays(
    np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, CLASSES - 1)
)
shares = st.sampled_from([0.0, 0.02, 0.1, 0.25, 0.5, 1.0])


def naive_sizes(labels: np.ndarray) -> list[list[int]]:
    """Points of every region of one map, class by class."""
    sizes = []
    for c in range(CLASSES):
        numbers = skimage_label(labels == c, connectivity=2)
        sizes.append([int((numbers == n).sum()) for n in range(1, numbers.max() + 1)])
    return sizes


def test_regions_by_hand():
    maps = np.array(
        [
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [[2, 0, 0, 2], [0, 0, 0, 0], [1, 1, 1, 2]],
        ],
        dtype=np.uint8,
    )
    regions = regions_of(maps, classes=3, minimum_share=0.25)
    assert regions.count.tolist() == [1, 5]
    assert regions.count_by_class.tolist() == [[1, 0, 0], [1, 1, 3]]
    assert regions.large.tolist() == [1, 2]  # 12; and of 6, 3, 1, 1, 1 points the first two
    assert regions.largest_share.tolist() == [1, 0.5]
    assert class_shares(maps, 3).tolist() == [[1, 0, 0], [0.5, 0.25, 0.25]]
    assert class_shares(maps, 4)[:, 3].tolist() == [0, 0]


@settings(max_examples=200)
@given(label_stacks, shares)
def test_regions_equal_class_by_class_labelling(maps, share):
    regions = regions_of(maps, CLASSES, share)
    points = maps[0].size
    for plane, labels in enumerate(maps):
        by_class = naive_sizes(labels)
        sizes = [size for of_class in by_class for size in of_class]
        assert regions.count[plane] == len(sizes)
        assert regions.count_by_class[plane].tolist() == [len(of_class) for of_class in by_class]
        assert regions.large[plane] == sum(size >= share * points for size in sizes)
        assert regions.largest_share[plane] == max(sizes) / points
        assert class_shares(maps, CLASSES)[plane].tolist() == [sum(of_class) / points for of_class in by_class]


@given(label_stacks, shares)
def test_the_scores_of_regions_fit_together(maps, share):
    regions = regions_of(maps, CLASSES, share)
    assert (regions.count == region_counts(maps)).all()
    assert (regions.large == region_counts(maps, share)).all()
    assert (regions.count_by_class.sum(1) == regions.count).all()
    assert (regions.largest_share <= class_shares(maps, CLASSES).max(1)).all()
    assert (region_counts(maps, 1.0) == (regions.count == 1)).all()


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


@given(st.integers(2, 2000), st.integers(2, 60))
def test_a_nested_grid_reaches_from_edge_to_edge(resolution, least):
    for stride, points in nested_resolutions(resolution, least):
        places = np.arange(resolution)[::stride]
        assert len(places) == points
        assert places[-1] == resolution - 1
        assert points >= least or stride == 1


def test_counts_by_resolution_are_those_of_the_coarser_maps():
    generator = np.random.default_rng(0)
    maps = generator.integers(0, 3, (3, 101, 101), dtype=np.uint8)
    counts = counts_by_resolution(maps)
    assert list(counts) == [26, 51, 101]
    for stride, points in [(4, 26), (2, 51), (1, 101)]:
        coarse = [[[labels[b * stride, a * stride] for a in range(points)] for b in range(points)] for labels in maps]
        assert counts[points].tolist() == region_counts(np.array(coarse)).tolist()
    filtered = counts_by_resolution(maps, minimum_share=2 / 26**2)
    assert filtered[26].tolist() == region_counts(maps[:, ::4, ::4], 2 / 26**2).tolist()
    assert (filtered[26] < counts[26]).all()


def test_extrapolation_finds_the_limit_of_an_error_by_area():
    truth, error = np.array([4.0, 7.0]), np.array([300.0, -100.0])
    counts = {points: truth + error / (points - 1) ** 2 for points in (26, 51, 101)}
    np.testing.assert_allclose(extrapolated(counts), truth, rtol=1e-12)
    assert extrapolated({51: np.array([5]), 101: np.array([8])}).tolist() == [9.0]
    with pytest.raises(ValueError, match=r"resolutions \[50\] are not enough"):
        extrapolated({50: np.array([3])})

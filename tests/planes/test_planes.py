"""Planes: the images that they go through, their geometry, and their grids."""

import re
from collections import Counter

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from support.random_planes import planes_through, random_planes
from support.refusals import refused

from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.errors import UserError
from dbviz_ray.planes import GridPoints, draw_plane_set, draw_planes, draw_triplets, spans_plane, triplets
from dbviz_ray.planes.triplets import Candidates


def test_the_triplets_of_earlier_versions_are_still_drawn(digits):
    """Changed triplets would make stored label maps incomparable with new ones."""
    for fields, first in (
        ({}, [[71, 62, 14], [57, 59, 79], [22, 14, 93]]),
        ({"classes": "any", "images": "train"}, [[144, 125, 29], [166, 163, 151], [55, 191, 89]]),
        ({"seed": 3}, [[72, 73, 63], [29, 20, 1], [72, 7, 47]]),
    ):
        assert draw_triplets(digits, PlaneSetConfig(count=3, **fields)).tolist() == first
    places = draw_triplets(digits, PlaneSetConfig(count=500))
    assert int((places * torch.arange(1, 1501).view(500, 3)).sum()) == 53970063


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=3, max_size=40),
    st.sampled_from(["different", "any", "same"]),
    st.sampled_from(["any", "correct", "mislabelled", "mixed"]),
    st.integers(0, 10**6),
)
def test_triplets_are_as_asked_for_or_refused(images, of_classes, of_labels, seed):
    """Images of two pixels on a small lattice, where many are equal or on one line; an image's class is its column."""
    pixels = torch.tensor([[x, y] for x, y, _ in images], dtype=torch.float32).view(-1, 1, 1, 2)
    labels = torch.tensor([x for x, _, _ in images])
    given = torch.where(torch.tensor([wrong for *_, wrong in images]), (labels + 1) % 4, labels)
    config = PlaneSetConfig(count=6, seed=seed, images="train", classes=of_classes, labels=of_labels)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(triplets, "MAX_DRAWS", 50)  # most that are refused are all on one line
            places = Candidates(lambda places: pixels[places], labels, "images", given).triplets(config)
    except UserError:
        reject()
    classes, wrong = labels[places], (given != labels)[places]
    for plane in range(6):
        assert len(set(places[plane].tolist())) == 3
        x1, x2, x3 = pixels[places[plane]].view(3, 2)
        assert float(torch.linalg.det(torch.stack([x2 - x1, x3 - x1]))) != 0
        kinds = len(set(classes[plane].tolist()))
        assert {"different": kinds == 3, "same": kinds == 1, "any": True}[config.classes]
        mislabelled = int(wrong[plane].sum())
        assert mislabelled in {"any": range(4), "correct": [0], "mislabelled": [3], "mixed": [1, 2]}[config.labels]


def test_planes_of_one_class_are_spread_evenly_over_the_classes_that_have_such_images(digits):
    planes = draw_plane_set(PlaneSetConfig(count=30, classes="same"), digits)
    assert planes.anchor_labels.tolist() == [[plane % 10] * 3 for plane in range(30)]
    given = digits.train_labels.clone()
    given[given == 3] = 4
    config = PlaneSetConfig(count=4, images="train", classes="same", labels="mislabelled")
    assert draw_plane_set(config, digits, given).anchor_labels.unique().tolist() == [3], "true classes"


def test_every_mixed_triplet_is_equally_likely():
    """Images 0 to 4, of which 0 and 1 are mislabelled: 9 of the 10 sets of three are mixed."""
    images = torch.eye(5).view(5, 1, 1, 5)
    labels = torch.zeros(5, dtype=torch.int64)
    config = PlaneSetConfig(count=9000, images="train", classes="any", labels="mixed")
    given = torch.tensor([1, 1, 0, 0, 0])
    places = Candidates(lambda places: images[places], labels, "images", given).triplets(config)
    counts = Counter(frozenset(triplet) for triplet in places.tolist())
    assert len(counts) == 9
    assert max(abs(count - 1000) for count in counts.values()) < 150, "5 standard deviations"
    firsts = torch.bincount(places[:, 0], minlength=5)
    expected = torch.tensor([2000.0, 2000, 5000 / 3, 5000 / 3, 5000 / 3])  # image 0 is in 6 of 9 sets, image 2 in 5
    assert ((firsts - expected).abs() < 200).all(), "each order is as likely"


def test_given_triplets_are_taken_as_they_are(digits):
    config = PlaneSetConfig(indices=((5, 0, 9), (1, 2, 3)))
    planes = draw_plane_set(config, digits)
    assert (config.count, config.classes) == (2, "any")
    assert planes.anchor_indices.tolist() == [[5, 0, 9], [1, 2, 3]]
    assert torch.equal(planes.anchors, digits.normalised(digits.test_images[planes.anchor_indices]))


def test_images_that_span_no_plane_are_refused_and_given_triplets_of_them_named(digits):
    absent, collinear = PlaneSetConfig(indices=((1, 2, 3), (0, 100, 2))), PlaneSetConfig(indices=((0, 1, 2), (1, 2, 3)))
    assert refused(draw_plane_set, absent, digits).value == [0, 100, 2]
    line, labels = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
    assert refused(draw_planes, line, labels, collinear).value == [0, 1, 2]
    for images in (5, 2):
        any_triplets = PlaneSetConfig(count=20, classes="any")
        assert refused(draw_planes, line[:images], labels[:images], any_triplets).field == "planes"


@pytest.mark.parametrize(
    ("fields", "given", "field", "numbers"),
    [
        ({"classes": "same"}, None, "", [3, 1, 2]),  # needs 3 of class 1, there are 2
        ({"labels": "correct"}, [1, 1, 1, 2, 2], "", []),
        ({"labels": "mislabelled"}, [0, 0, 0, 1, 0], "", [3, 1]),
        ({"labels": "mixed"}, [0, 0, 0, 1, 1], "", []),
        ({"labels": "mixed"}, None, "labels", []),
        ({"labels": "mixed", "classes": "different"}, [1, 0, 0, 1, 1], "classes", [3, 2]),
    ],
)
def test_impossible_triplets_are_refused(fields, given, field, numbers):
    images, labels = torch.eye(5).view(5, 1, 1, 5), torch.tensor([0, 0, 0, 1, 1])
    config = PlaneSetConfig(**{"count": 2, "images": "train", "classes": "any"} | fields)
    candidates = Candidates(lambda places: images[places], labels, "images", given and torch.tensor(given))
    mistake = refused(candidates.triplets, config)
    assert (mistake.field, [int(number) for number in re.findall(r"\d+", mistake.reason)]) == (field, numbers)


def test_three_images_on_a_line_span_no_plane():
    x, direction = torch.randn(2, 12, generator=torch.Generator().manual_seed(0)).unbind(0)
    assert not spans_plane(torch.stack([x, x + direction, x - 3 * direction]))
    assert not spans_plane(torch.stack([x, x, direction]))
    assert not spans_plane(torch.stack([x, direction, direction]))
    assert spans_plane(torch.stack([x, x + direction, x + direction.roll(1)]))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.5]), st.integers(2, 9))
def test_geometry(seed, margin, resolution):
    anchors = torch.randn(4, 3, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    planes = planes_through(anchors, resolution, margin)
    _, e1, e2 = planes.basis.unbind(1)
    for left, right, product in ((e1, e1, 1.0), (e2, e2, 1.0), (e1, e2, 0.0)):
        torch.testing.assert_close((left * right).sum(1), torch.full((4,), product, dtype=torch.float64))
    rebuilt = planes.basis[:, :1] + planes.coordinates @ planes.basis[:, 1:]
    torch.testing.assert_close(rebuilt, anchors.double().flatten(2))
    low, high = planes.coordinates.amin(1), planes.coordinates.amax(1)
    torch.testing.assert_close(planes.axes[..., 0], low - margin * (high - low))
    torch.testing.assert_close(planes.axes[..., -1], high + margin * (high - low))


@pytest.mark.parametrize("size", [1, 5, 12, 24, 25, 60, 1000])
def test_batches_of_points_are_the_whole_grid_in_order(size):
    planes = random_planes(3, resolution=5, shape=(1, 4, 4))
    grid = GridPoints(planes, torch.device("cpu"))
    [(_, _, whole)] = grid.batches(75)
    assert len(whole) == 75
    assert torch.equal(whole, torch.cat([points for _, _, points in grid.batches(size)]))
    assert all(len(points) <= max(size, 5) for _, _, points in grid.batches(size))
    covered = torch.zeros(3, 5, dtype=torch.int64)
    for some_planes, some_rows, _ in grid.batches(size):
        covered[some_planes, some_rows] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_may_come_before_the_grid(bias):
    planes = random_planes(3, resolution=6, shape=(2, 4, 4))
    layer = torch.nn.Linear(32, 7, bias=bias).double()
    grid = GridPoints(planes, torch.device("cpu"), torch.float64)
    for (_, _, points), (_, _, mapped) in zip(grid.batches(24), grid.through(layer).batches(24), strict=True):
        torch.testing.assert_close(mapped, layer(points.flatten(1)), rtol=0, atol=1e-13)

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_planes import planes_through, random_planes
from support.refusals import refused

from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.planes import GridPoints, draw_planes


def test_hand_computed_plane():
    """x1 = (1, 1, 0, 0), x2 = x1 + 4 along the first pixel, x3 = x1 + (1, 2) along the first and third."""
    anchors = torch.tensor([[[1.0, 1, 0, 0], [5, 1, 0, 0], [2, 1, 2, 0]]]).view(1, 3, 1, 2, 2)
    planes = planes_through(anchors, resolution=3, margin=0.5)
    assert planes.basis[0].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    assert planes.coordinates[0].tolist() == [[0, 0], [4, 0], [1, 2]]
    assert planes.axes[0].tolist() == [[-2, 2, 6], [-1, 1, 3]]
    [(_, _, points)] = GridPoints(planes, torch.device("cpu"), torch.float64).batches(9)
    assert points.shape == (9, 1, 2, 2)
    expected = [[1 + a, 1, b, 0] for b in (-1, 1, 3) for a in (-2, 2, 6)]
    assert points.flatten(1).tolist() == expected


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


def test_collinear_images_are_never_a_plane():
    line = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    images = torch.cat([line, torch.tensor([1.0, 0, 0, 0]).view(1, 1, 2, 2)])
    config = PlaneSetConfig(count=20, classes="any")
    planes = draw_planes(images, torch.zeros(6, dtype=torch.int64), config)
    assert (planes.anchor_indices == 5).any(dim=1).all()
    assert torch.isfinite(planes.basis).all()
    for too_few in (line, images[:2]):
        assert refused(draw_planes, too_few, torch.zeros(len(too_few), dtype=torch.int64), config).field == "planes"

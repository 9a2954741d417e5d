import math
import threading

import numpy as np
import pytest
import torch
from conftest import small_sweep
from hypothesis import given
from hypothesis import strategies as st

from dbviz_ray.datasets import augmentation
from dbviz_ray.datasets.augmentation import AugmentedImages, Draws, OneAhead, cut_boxes

UNIT = st.floats(0, 1, exclude_max=True)


def epoch_of(data, kind):
    """Every batch of one epoch of two models."""
    both = small_sweep(grid={"width": [4], "seed": [0, 1]}, training={"batch_size": 64, "augmentation": kind}).models()
    images = AugmentedImages(both, data, torch.device("cpu"), torch.float32)
    return [batch for _, batch in images.augmented(images.draws(0))]


@pytest.mark.parametrize("kind", ["none", "crop_flip"])
@pytest.mark.parametrize("block_bytes", [1, 2 * 64 * 64 * 4 * 2])
def test_the_block_size_changes_nothing(kind, block_bytes, digits, monkeypatch):
    at_once = epoch_of(digits, kind)
    monkeypatch.setattr(augmentation, "BLOCK_BYTES", block_bytes)
    in_blocks = epoch_of(digits, kind)
    assert [batch.shape[1] for batch in in_blocks] == [64, 64, 64, 8]
    assert torch.equal(torch.cat(in_blocks, dim=1), torch.cat(at_once, dim=1))


def test_the_next_epoch_is_drawn_while_one_is_used():
    """Each once, none after the last; an error comes where its epoch is asked for."""
    began = [threading.Event() for _ in range(5)]

    def draw(epoch):
        assert not began[epoch].is_set()
        began[epoch].set()
        if epoch == 4:
            raise MemoryError("epoch 4")
        return Draws(torch.tensor([epoch]))

    ahead, last = OneAhead(draw, epochs=5), OneAhead(draw, epochs=3)
    assert last(2).order.item() == 2
    for epoch in (0, 1, 3):  # as after a checkpoint
        assert began[epoch].clear() or ahead(epoch).order.item() == epoch
        assert began[epoch + 1].wait(timeout=60)
    with pytest.raises(MemoryError, match="epoch 4"):
        ahead(4)


@given(UNIT, UNIT, UNIT, st.integers(1, 40), st.integers(1, 40))
def test_boxes_are_those_of_cutmix_and_the_share_is_the_area_outside(share, y, x, height, width):
    boxes, shares = cut_boxes(np.array([share]), np.array([[y, x]]), (height, width))
    top, left, bottom, right = boxes[0]
    for low, high, centre, side in ((top, bottom, y, height), (left, right, x, width)):
        half = int(0.5 * math.sqrt(1 - share) * side)
        assert (low, high) == (max(int(centre * side) - half, 0), min(int(centre * side) + half, side))
    outside = np.ones((height, width))
    outside[top:bottom, left:right] = 0
    assert shares[0] == pytest.approx(outside.mean())
    assert shares[0] >= share - 1e-12  # at the edges, a box is cut off

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from dbviz_ray import compare
from dbviz_ray.architectures import initialised_network
from dbviz_ray.errors import UserError


@pytest.fixture(scope="module")
def images_and_labels(digits):
    return digits.normalised(digits.test_images), digits.test_labels


def network(seed):
    return initialised_network("fully_connected", 16, (1, 8, 8), 10, seed)


def test_a_model_agrees_with_itself(images_and_labels):
    result = compare([network(0), network(0)], *images_and_labels, planes=5, resolution=8)
    assert result.reproducibility.value == result.reproducibility.low == result.reproducibility.high == 1
    assert result.agreement_on_images.tolist() == [[1, 1], [1, 1]]


def test_known_regions():
    """One model has a straight boundary through every plane, the other none."""
    images = torch.tensor([[0.0, 0], [1, 0], [0, 1]]).view(3, 1, 1, 2)

    def halves(x):
        first = x.flatten(1)[:, 0]
        return torch.stack([torch.zeros_like(first), first - 0.5], dim=1)

    def one(x):
        return torch.tensor([[1.0, 0]]).expand(len(x), -1)

    result = compare([halves, one], images, [0, 1, 2], planes=2, resolution=10, margin=0)
    assert result.reproducibility.value == pytest.approx((result.label_maps[0] == 0).mean())
    assert 0.3 < result.reproducibility.value < 0.7
    assert [regions.value for regions in result.fragmentation] == [2, 1]
    assert [error.value for error in result.error] == pytest.approx([1 / 3, 2 / 3])
    assert result.agreement_on_images[0, 1] == pytest.approx(2 / 3)


def test_three_models_give_an_interval_over_models_too(images_and_labels):
    result = compare([network(s) for s in range(3)], *images_and_labels, planes=20, resolution=10)
    assert result.reproducibility.covers == "models and items"
    assert result.reproducibility.low < result.reproducibility.value < result.reproducibility.high
    pairs = result.pairs[np.triu_indices(3, 1)]
    assert result.reproducibility.value == pytest.approx(pairs.mean())
    text = str(result)
    assert "3 models, 20 planes" in text
    assert "model 2: error" in text


def test_numpy_images_double_models_and_modes(images_and_labels):
    images, labels = (array.numpy() for array in images_and_labels)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)).double().train()
    compare([model, network(1)], images, labels, planes=2, resolution=4)
    assert model.training
    assert model[1].training


def test_figure_has_a_panel_a_model_and_one_for_disagreement(images_and_labels, tmp_path):
    result = compare([network(0), network(1)], *images_and_labels, planes=4, resolution=8)
    figure = result.figure(planes=2)
    assert len(figure.axes) == 2 * 3
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": [network(0)]}, "models: 1 given; allowed: two or more"),
        ({"images": torch.zeros(5, 1, 8, 8, dtype=torch.uint8)}, "images: torch.uint8"),
        ({"images": torch.zeros(5, 8, 8)}, "images: torch.float32 of shape"),
        ({"labels": torch.zeros(3)}, "labels: shape"),
        ({"planes": 1}, "planes: 1 is not allowed; allowed: at least 2"),
        ({"resolution": 1}, "resolution: 1 is not allowed; allowed: at least 2"),
        ({"classes": "all"}, "classes: 'all' is not allowed"),
        ({"models": [lambda x: x, lambda x: x]}, "scores of shape"),
    ],
)
def test_bad_arguments_are_named(images_and_labels, change, message):
    arguments = {"models": [network(0), network(1)], "images": images_and_labels[0], "labels": images_and_labels[1]}
    with pytest.raises(UserError) as caught:
        compare(**arguments | change)
    assert str(caught.value).startswith(message) or message in str(caught.value)


def test_neither_ray_nor_mlflow_is_imported():
    code = "import dbviz_ray, sys; dbviz_ray.compare; print(sorted({'ray', 'mlflow'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

import io
import math
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from support.html_pages import Page
from support.network_kinds import UNSTEADY
from support.random_networks import ALL
from support.refusals import refused
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dbviz_ray import compare
from dbviz_ray.analysis.compare.figures import representative_planes
from dbviz_ray.analysis.compare.scores import scores_of
from dbviz_ray.analysis.predictions.scores import OnItems
from dbviz_ray.architectures import initialised_network


@pytest.fixture(scope="module")
def images_and_labels(digits):
    return digits.normalised(digits.test_images), digits.test_labels


def network(seed):
    return initialised_network("fully_connected", 16, (1, 8, 8), 10, seed)


def small_machine(images):
    if len(images) > 40:
        raise torch.OutOfMemoryError
    return network(0)(images)


@pytest.mark.parametrize("again", [network(0), small_machine], ids=["as it is", "where not all images fit at once"])
def test_a_model_agrees_with_itself(again, images_and_labels):
    result = compare([network(0), again], *images_and_labels, planes=5, resolution=8)
    (pair,) = result.pairs
    for interval in (result.reproducibility, pair.reproducibility, pair.kappa, pair.on_images.capa):
        assert interval.value == interval.low == interval.high == 1
    assert pair.on_images.agreement == 1
    assert pair.on_images.churn.value == pair.on_images.wins.value == pair.on_images.losses.value == 0
    assert pair.on_images.p_value == pair.regions_p == pair.on_images.p_holm == pair.regions_p_holm == 1
    assert pair.regions_change.value == pair.on_images.accuracy_change.value == 0


THREE = torch.tensor([[0.0, 0], [1, 0], [0, 1]]).view(3, 1, 1, 2)
"""Three images of two pixels."""


def threshold(at):
    """Class 1 where the first pixel is above `at`, class 2 nowhere."""

    def scores(x):
        first = x.flatten(1)[:, 0]
        return torch.stack([torch.zeros_like(first), first - at, torch.full_like(first, -9)], dim=1)

    return scores


def test_planes_that_are_all_alike_give_no_interval():
    """There is one plane through three images, so nothing varies from plane to plane."""
    for models in ([threshold(0.5)] * 2, [threshold(0.5)] * 3):
        result = compare(models, THREE, [0, 1, 2], planes=3, margin=0, resolution=10)
        assert "±" not in str(result)
        assert "1.000 [" not in str(result)
    differing = compare([threshold(0.5), threshold(9)], THREE, [0, 1, 2], planes=2, resolution=10)
    unknown = replace(differing, pairs=(replace(differing.pairs[0], regions_p=math.nan),))
    assert "nan" not in str(unknown)


def test_two_planes_that_differ_much_give_no_precision():
    first = np.array([[[[0, 0], [0, 1]], [[0, 1], [1, 1]]]], np.uint8)
    predicted, truth = [np.array([0, 1])] * 2, np.array([0, 1])
    found = scores_of(["a", "b"], predicted, np.concatenate([first, np.zeros_like(first)]), truth, 2).advice(0.01)
    assert found.is_useless


def test_tables_fit_a_terminal_whatever_the_names():
    models = [threshold(0.1 + 0.02 * index) for index in range(34)]
    names = [f"a rather long name of a network, of which this is training number {index}" for index in range(34)]
    result = compare(models, THREE, [0, 1, 2], planes=2, resolution=4, names=names)
    _, models_table, on_planes, on_images, *_ = str(result).split("\n\n")
    for table in (models_table, on_planes, on_images):
        assert max(map(len, table.splitlines())) <= 110
    assert models_table.splitlines()[-1] == "and 4 more"
    assert on_planes.splitlines()[-1] == "and 531 more"
    assert on_images.splitlines()[3] == f"{names[0]}, {names[1]}"[:107] + "..."


def test_known_regions():
    """One model has a straight boundary through every plane, the other none."""
    models = [threshold(0.5), lambda x: torch.tensor([[1.0, 0, 0]]).expand(len(x), -1)]
    result = compare(models, THREE, [0, 1, 2], planes=2, resolution=10, margin=0, names=["halves", "one"])
    zeros = (result.label_maps[0] == 0).mean(axis=(1, 2))
    (pair,) = result.pairs
    assert result.reproducibility.value == pytest.approx(zeros.mean())
    assert 0.3 < result.reproducibility.value < 0.7
    assert [model.regions.value for model in result.models] == [2, 1]
    assert result.models[0].largest_share.value == pytest.approx(np.maximum(zeros, 1 - zeros).mean())
    assert result.models[1].largest_share.value == 1
    assert [model.error.value for model in result.models] == pytest.approx([1 / 3, 2 / 3])
    assert pair.kappa.value == pytest.approx(0), "a constant model agrees by chance alone"
    assert pair.on_images.churn.value == pytest.approx(1 / 3)
    assert (pair.on_images.wins.value, pair.on_images.losses.value) == pytest.approx((0, 1 / 3))
    # agreement 2/3; expected of accuracies 2/3 and 1/3 with three classes: 2/9 + 2/9 / 2
    assert pair.on_images.capa.value == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))
    assert pair.regions_change.value == -1
    assert [model.classes_predicted for model in result.models] == [2, 1]
    assert "halves" not in str(result).split("Beware")[1].split("\n\n")[0]


def test_a_loader_and_double_models_are_taken_and_modes_kept(images_and_labels):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)).double().train()
    models, options = [model, network(1)], {"planes": 2, "resolution": 4}
    loaded = compare(models, DataLoader(TensorDataset(*images_and_labels), 30), **options)
    assert repr(loaded.pairs) == repr(compare(models, *images_and_labels, **options).pairs)  # NaN is not itself
    assert model.training
    assert model[1].training


def test_a_figure_has_a_panel_for_each_model_and_one_for_disagreement(images_and_labels):
    models = [network(0), network(1)]
    result = compare(models, *images_and_labels, planes=4, resolution=8, class_names=list("abcdefghij"))
    assert len(result.figure(planes=2).axes) == 2 * 3
    assert len(result.figure(planes=[3]).axes) == 3
    for planes in (0, -1, [], [500], [-1], ["first"]):
        assert refused(result.figure, planes).field == "planes"
    many = compare((network(seed) for seed in range(8)), *images_and_labels, planes=3, resolution=4)
    figure = many.figure(planes=1)
    assert len(figure.axes) == 7
    assert "6 of 8" in figure.legends[0].get_title().get_text()
    assert len(many.by_plane().axes[0].lines) == 1, "too many pairs for a line each"


def test_the_first_plane_the_worst_and_the_middle_one_are_shown():
    same_points = np.array([[0.5, 0.9, 0.2, 0.7, 0.6], [0.5, 0.9, 0.4, 0.7, 0.6]])
    assert representative_planes(same_points, 3) == [0, 2, 4]
    assert representative_planes(same_points, 9) == [0, 2, 4, 3, 1]
    assert representative_planes(np.ones((1, 2)), 3) == [0, 1]


def ten_but(change):
    return lambda x: change(torch.zeros(len(x), 10))


def lost_beyond_the_pixels(images):
    """Numbers for images, none where the grid of a plane reaches past what pixels can be."""
    inside = (images >= 0).flatten(1).all(dim=1, keepdim=True)
    return torch.where(inside, torch.zeros(len(images), 10), torch.nan)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"models": [network(0)]}, "models"),
        ({"models": 3}, "models"),
        ({"models": [lambda x: x.flatten(1)[:, :7], network(0)]}, "models"),
        ({"labels": torch.arange(100) % 10 + 3}, "labels"),
        ({"planes": 1}, "planes"),
        ({"planes": 10**9}, "planes"),
        ({"planes": 10**6, "resolution": 50}, "planes"),
        ({"classes": "all"}, "classes"),
        ({"batch_points": 0}, "batch_points"),
        ({"device": "foo"}, "device"),
        ({"names": ["a", "a"]}, "names"),
        ({"class_names": ["a", "b"]}, "class_names"),
        ({"models": [network(0), lambda x: [x]]}, "model 1"),
        ({"models": [network(0), ten_but(lambda scores: scores / 0)]}, "model 1"),
        ({"models": [network(0), lost_beyond_the_pixels]}, "model 1"),
        ({"models": [network(0), ten_but(lambda scores: scores[:1])]}, "model 1"),
        ({"models": [network(0), lambda x: x.flatten(1).argmax(1)]}, "model 1"),
        ({"models": [network(0), nn.Sequential(nn.Flatten(), nn.Linear(75, 10))]}, "model 1"),
    ],
)
def test_bad_arguments_are_named(images_and_labels, change, field):
    images, labels = images_and_labels
    if "models" in change and field == "models":
        labels = labels % 7
    arguments = {"models": [network(0), network(1)], "images": images, "labels": labels, "planes": 3, "resolution": 4}
    assert refused(compare, **arguments | change).field == field


@pytest.mark.parametrize("kind", sorted(UNSTEADY))
def test_a_network_that_is_no_function_of_the_image_is_refused_and_left_as_it_was(kind, images_and_labels):
    networks = [UNSTEADY[kind](4, (1, 8, 8), 10) for _ in range(2)]
    tensors = networks[0].state_dict(keep_vars=True)
    numbers = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    assert refused(lambda: compare(networks, *images_and_labels, planes=3, resolution=5)).field == "model 0"
    after = networks[0].state_dict(keep_vars=True)
    assert all(after[name] is tensor and torch.equal(tensor, numbers[name]) for name, tensor in tensors.items())


MORE = ("changes_its_input", "gradient_within", "holds_a_lock", "scripted")


@pytest.mark.parametrize("kind", ["returns_a_tuple", "returns_a_dictionary", "returns_an_object", *MORE])
def test_outputs_of_every_form_are_taken_and_images_stay(kind, images_and_labels):
    images, labels = images_and_labels
    before, network = images.clone(), ALL[kind](4, (1, 8, 8), 10)
    result = compare([network, network], images, labels, planes=3, resolution=5)
    assert result.reproducibility.value == 1
    assert torch.equal(images, before)


def test_a_comparison_in_a_notebook(images_and_labels, tmp_path):
    result = compare([network(seed) for seed in range(3)], *images_and_labels, planes=12, resolution=6)
    kernel = InteractiveShell.instance()
    shown = kernel.display_formatter.format(result)[0]
    assert set(result.names) <= set(Page(shown["text/html"]).words)
    png = kernel.display_formatter.format(result.figure())[0]["image/png"]
    assert Image.open(io.BytesIO(png)).size[0] > 100
    for of, count in (("pairs", 3), ("models", 3), ("images", result.images)):
        frame = result.to_frame(of)
        assert len(frame) == count
        assert not frame.map(lambda cell: isinstance(cell, dict | list | tuple)).any(axis=None)
    written = result.save(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(written)
    stored = pd.read_csv(tmp_path / "out" / "pairs.csv")["reproducibility"]
    assert stored.tolist() == pytest.approx(result.to_frame()["reproducibility"].tolist())
    result.save(tmp_path / "out")
    (tmp_path / "out" / "comparison.json").unlink()
    assert refused(result.save, tmp_path / "out").field == "out"


def test_every_image_has_its_votes_and_its_flip(images_and_labels, tmp_path):
    images, labels = images_and_labels
    result = compare([network(seed) for seed in range(4)], images, labels, planes=40, resolution=3)
    frame = result.to_frame("images")
    assert frame["label"].tolist() == labels.tolist()
    differing = sum((a != b).astype(int) for a, b in combinations(result.predicted, 2))
    assert frame["conflict_ratio"].to_numpy() == pytest.approx(differing / 6)
    assert frame["agreement"].mean() == pytest.approx(result.agreement_on_images.value)
    (old,) = [pair for pair in result.pairs if (pair.old, pair.new) == ("model 0", "model 3")]
    shares = frame["flip"].value_counts(normalize=True)
    for flip, share in (("right to wrong", old.on_images.losses), ("wrong to right", old.on_images.wins)):
        assert shares[flip] == pytest.approx(share.value)
    assert 1 - shares["unchanged"] == pytest.approx(old.on_images.churn.value)
    shown = [axes.get_xlabel().splitlines()[0] for axes in result.contested().axes]
    drawn = np.unique(result.planes.anchor_indices)
    ranked = drawn[np.argsort(-differing[drawn], kind="stable")][:12]
    assert shown == [f"image {image}: {labels[image]}" for image in ranked]
    unlabelled = compare([network(0), network(0)], images, planes=3, resolution=3)
    assert set(unlabelled.to_frame("images")["flip"]) == {"unchanged"}
    assert unlabelled.contested() is None
    assert "contested_images.png" not in unlabelled.save(tmp_path)


def test_one_score_for_each_image_is_the_logit_of_class_one_or_its_probability(images_and_labels):
    images, labels = images_and_labels
    logit = nn.Sequential(nn.Flatten(), nn.Linear(64, 1)).double()
    probability, both = nn.Sequential(logit, nn.Sigmoid()), nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    with torch.no_grad():
        logit[1].bias -= logit(images.double()).mean()
        both[1].weight.copy_(torch.cat([torch.zeros(1, 64), logit[1].weight]))
        both[1].bias.copy_(torch.cat([torch.zeros(1), logit[1].bias]))
        above = (logit(images.double())[:, 0] > 0).numpy()
    assert 0.4 < above.mean() < 0.6
    models = [both, logit, nn.Sequential(*logit, nn.Flatten(0)), probability]
    models.append(lambda x: probability(x.double()).numpy()[:, 0])
    result = compare(models, images, labels % 2, planes=4, resolution=9, batch_points=100)
    assert result.drawn.classes == "any", "of two classes no plane goes through three"
    assert result.reproducibility.value == result.agreement_on_images.value == 1
    assert {model.error.value for model in result.models} == {float((above != labels.numpy() % 2).mean())}
    assert {model.classes_predicted for model in result.models} == {2}
    assert [re.findall(r"model \d", remark) for remark in result.remarks] == [["model 3"], ["model 4"]]


def test_one_score_that_is_a_probability_on_images_alone_is_refused(images_and_labels):
    logit = lambda images: images.flatten(1).mean(dim=1)  # noqa: E731
    with_outside, labels = images_and_labels[0] + 0.01, images_and_labels[1] % 2
    unit = (with_outside - with_outside.min()) / (with_outside.max() - with_outside.min())
    shifted = [lambda x: logit(x) + 10 * (x < -1e-6).flatten(1).any(dim=1)] * 2
    options = {"planes": 3, "resolution": 9, "classes": "any"}
    assert refused(compare, shifted, unit, labels, margin=0.5, **options).field == "model 0"
    large = compare([lambda x: logit(3 * x)] * 2, unit, labels, **options)
    assert large.remarks == ()
    assert large.models[0].classes_predicted <= 2


@pytest.mark.parametrize("count", [2, 3])
def test_images_without_labels_give_all_scores_but_errors(count, images_and_labels, tmp_path):
    images, labels = images_and_labels
    models = [network(seed) for seed in range(count)]
    result = compare(models, images, planes=6, resolution=8)
    known = compare(models, images, labels, planes=6, resolution=8, classes="any")
    assert result.reproducibility == known.reproducibility
    assert result.agreement_on_images == known.agreement_on_images
    for own, same in zip(result.models, known.models, strict=True):
        assert own == replace(same, error=None)
    for own, same in zip(result.pairs, known.pairs, strict=True):
        assert own == replace(same, on_images=OnItems(same.on_images.churn, *[None] * 6))
    assert "None" not in str(result)
    assert "nan" not in str(result)
    assert "None" not in result._repr_html_()
    result.save(tmp_path)
    assert refused(compare, models, images, classes="same").field == "classes"

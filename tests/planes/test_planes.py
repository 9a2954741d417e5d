"""Planes: the images that they go through, also shuffled ones, noise and attacked ones, their geometry, their grids."""

import copy
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import small_sweep
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from support.random_planes import planes_through, random_planes
from support.refusals import refused

from dbviz_ray.config import AdversaryConfig, PlaneSetConfig
from dbviz_ray.datasets import Dataset, given_labels
from dbviz_ray.errors import UserError
from dbviz_ray.evaluation.records import copy_model, load_network, load_planes, save_planes
from dbviz_ray.planes import GridPoints, draw_plane_set, draw_planes, draw_triplets, spans_plane, triplets
from dbviz_ray.planes.drawing import adversarial_examples
from dbviz_ray.planes.triplets import Candidates
from dbviz_ray.stages.evaluate import stored_planes
from dbviz_ray.store import Store


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
    x, direction = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    line, labels = torch.stack([x + step * direction for step in range(5)]), torch.zeros(5, dtype=torch.int64)
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


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_may_come_before_the_grid(bias):
    planes = random_planes(3, resolution=6, shape=(2, 4, 4))
    layer = torch.nn.Linear(32, 7, bias=bias).double()
    grid = GridPoints(planes, torch.device("cpu"), torch.float64)
    for (_, _, points), (_, _, mapped) in zip(grid.batches(27), grid.through(layer).batches(27), strict=True):
        assert len(points) <= 27, "whole rows of 6"
        torch.testing.assert_close(mapped, layer(points.flatten(1)), rtol=0, atol=1e-13)


RADIUS = 3.0


@pytest.fixture(scope="module")
def colours() -> Dataset:
    """60 small images of three channels, each normalised in its own way."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, 3, 4, 5)).astype(np.uint8))
    labels = torch.arange(60) % 3
    return Dataset(pixels, labels, pixels, labels, tuple("abc"), (0.5, 0.4, 0.3), (0.2, 0.3, 0.25))


@pytest.fixture(scope="module")
def network(finished_run) -> torch.nn.Module:
    store, sweep = finished_run
    return load_network(store, sweep.models()[6], (1, 8, 8), 10)


def of_pixels(*images: list[int], pixel_range: float = 255.0) -> Dataset:
    """Images of two pixels, each of a class of its own."""
    pixels, labels = torch.tensor(images, dtype=torch.uint8).view(-1, 1, 1, 2), torch.arange(len(images))
    return Dataset(pixels, labels, pixels, labels, tuple("abc"), (0.0,), (1.0,), pixel_range=pixel_range)


def linear_network(weights: list[float], bias: float) -> torch.nn.Sequential:
    """Of two pixels and two classes, of which the second has a score of 0."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([weights, [0, 0]]))
        network[1].bias.copy_(torch.tensor([bias, 0]))
    return network


@pytest.mark.parametrize("replaced", [2, 3])
@pytest.mark.parametrize("kind", ["shuffled", "uniform_noise"])
def test_planes_of_shuffled_images_and_of_noise(kind, replaced, colours):
    fields, kept = {"count": 60, "seed": 4}, 3 - replaced
    natural = draw_plane_set(PlaneSetConfig(**fields), colours)
    planes = draw_plane_set(PlaneSetConfig(off_manifold=kind, off_manifold_images=replaced, **fields), colours)
    assert torch.equal(planes.anchors[:, :kept], natural.anchors[:, :kept])
    assert planes.origin.kinds == ("natural",) * kept + (kind,) * replaced
    indices, labels = (torch.cat([of[:, :kept], torch.full((60, replaced), -1)], dim=1)
                       for of in (natural.anchor_indices, natural.anchor_labels))  # fmt: skip
    assert torch.equal(planes.anchor_indices, indices)
    assert torch.equal(planes.origin.sources, natural.anchor_indices if kind == "shuffled" else indices)
    assert torch.equal(planes.anchor_labels, natural.anchor_labels if kind == "shuffled" else labels)
    images, made = (anchors[:, kept:].flatten(0, 1) for anchors in (natural.anchors, planes.anchors))
    if kind == "shuffled":
        orders = set()
        for before, after in zip(images, made, strict=True):
            columns = before.flatten(1).T.tolist()
            orders.add(tuple(columns.index(pixel) for pixel in after.flatten(1).T.tolist()))
        assert {tuple(sorted(order)) for order in orders} == {tuple(range(20))}, "whole pixels change places"
        assert len(orders) == 60 * replaced, "every image has an order of its own"
        return
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (colours.mean, colours.deviation))
    noise = made * deviation + mean
    assert 0 <= noise.min() < 0.001
    assert 0.999 < noise.max() <= 1.000001
    shares = torch.histc(noise, bins=10, min=0, max=1) / noise.numel()
    assert ((shares - 0.1).abs() < 0.02).all()
    assert ((noise.mean(dim=(0, 2, 3)) - 0.5).abs() < 0.03).all(), "in every channel"


@pytest.mark.parametrize("kind", ["none", "shuffled", "uniform_noise", "adversarial"])
def test_images_of_a_plane_do_not_depend_on_the_number_of_planes(kind, digits, network):
    """Nor on the batches of attacks, of 100 images each."""
    fields = {"off_manifold": kind, "adversary": {"radius": RADIUS, "step": 1.0} if kind == "adversarial" else None}
    configs = (PlaneSetConfig(count=count, seed=seed, **fields) for count, seed in ((100, 0), (250, 0), (100, 1)))
    few, many, other = (draw_plane_set(config, digits, network=network).anchors for config in configs)
    assert torch.equal(few, many[:100])
    assert not torch.equal(few, other)


def test_shuffles_on_one_line_are_drawn_again():
    """Some shuffles of (0, 1), (0, 2) and (1, 1) lie on one line."""
    dataset = of_pixels([0, 1], [0, 2], [1, 1])
    planes = draw_plane_set(PlaneSetConfig(count=50, off_manifold="shuffled"), dataset)
    assert all(spans_plane(triplet) for triplet in planes.anchors)
    refused(draw_plane_set, PlaneSetConfig(count=2, off_manifold="shuffled"), of_pixels([1, 1], [1, 1], [1, 1]))


def test_adversarial_planes(digits, network):
    adversary = AdversaryConfig(radius=RADIUS, step=1.0, steps=10)
    config = PlaneSetConfig(count=60, off_manifold="adversarial", adversary=adversary, attacked="m")
    planes = draw_plane_set(config, digits, network=network)
    x1, x2, x3 = planes.anchors.unbind(1)
    assert torch.equal(x1, digits.normalised(digits.test_images[planes.anchor_indices[:, 0]]))
    assert (x2 - x1).abs().max() <= RADIUS / 16 + 1e-6
    assert x2.min() >= 0
    assert x2.max() <= 1
    with torch.no_grad():
        natural, adversarial, random = (network(images).argmax(1) for images in (x1, x2, x3))
    assert (natural != adversarial).double().mean() > 0.8
    assert (natural != random).double().mean() < (natural != adversarial).double().mean() / 2
    a, b = planes.coordinates.unbind(-1)
    torch.testing.assert_close(b[:, 2], a[:, 1], rtol=1e-5, atol=0)
    torch.testing.assert_close(a[:, 2] / a[:, 1], torch.zeros(60, dtype=torch.float64), rtol=0, atol=1e-5)
    assert planes.origin.kinds == ("natural", "adversarial", "random_direction")
    assert planes.origin.attacked == "m"
    assert torch.equal(planes.origin.sources, planes.anchor_indices[:, :1].expand(60, 3))
    assert (planes.anchor_indices[:, 1:] == -1).all()
    assert torch.equal(planes.anchor_labels, digits.test_labels[planes.origin.sources])


def test_an_attack_on_a_linear_network_is_known():
    """Class 0 of scores x0 + x1 + 1 and 0: down to the ball's edge, or the darkest pixel, each channel in its unit."""
    network, pixels = linear_network([1.0, 1], bias=1).double(), torch.tensor([[16, 16], [2, 2]]).view(2, 2, 1, 1)
    dataset = replace(of_pixels(pixel_range=16.0), mean=(0.0, 0.25), deviation=(1.0, 0.5))
    images, start = dataset.normalised(pixels), torch.zeros(2, 2, 1, 1)
    moved = adversarial_examples(network, images, start, AdversaryConfig(radius=4.0, step=3.0, steps=2), dataset)
    assert moved.dtype == torch.float32
    assert moved.flatten(1).tolist() == [[0.75, 1.0], [0.0, -0.5]]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_attacks_that_cannot_be_are_refused(digits, network):
    """On a network that diverged, on none, and where only an image darker than black is of another class."""
    broken = copy.deepcopy(network)
    broken.load_state_dict({name: tensor * torch.nan for name, tensor in network.state_dict().items()})
    sees_black, dark = linear_network([-1.0, -1], bias=-1), of_pixels([0, 0], [0, 9], [9, 0], pixel_range=9.0)
    config = PlaneSetConfig(count=20, off_manifold="adversarial", adversary={"radius": 1.0})
    attacks = ((broken, digits, "attacked"), (None, digits, "off_manifold"), (sees_black, dark, "off_manifold"))
    for attacked, dataset, field in attacks:
        assert refused(draw_plane_set, config, dataset, network=attacked).field == field


@pytest.mark.parametrize("kind", ["none", "shuffled", "uniform_noise", "adversarial"])
def test_the_file_holds_the_origin_of_the_images(kind, digits, network, tmp_path):
    store = Store(tmp_path)
    planes = draw_plane_set(PlaneSetConfig(count=3, off_manifold=kind), digits, network=network)
    save_planes(store, "some", planes, digits)
    back, class_names = load_planes(store, "some")
    assert class_names == list("0123456789")
    for name in ("anchors", "anchor_indices", "anchor_labels", "axes", "coordinates"):
        assert torch.equal(getattr(back, name), getattr(planes, name))
    table, facts = store.read_parquet(store.planes_file("some"))
    if kind == "none":
        assert back.origin is planes.origin is None
        assert facts["anchor_kinds"] == ["natural"] * 3
        assert table["anchor_sources"].to_pylist() == planes.anchor_indices.tolist()
        without = {key: value for key, value in facts.items() if key not in ("anchor_kinds", "attacked")}
        store.write_parquet(store.planes_file("some"), table.drop_columns(["anchor_sources"]), without)
        assert load_planes(store, "some")[0].origin is None
    else:
        assert back.origin.kinds == planes.origin.kinds == tuple(facts["anchor_kinds"])
        assert torch.equal(back.origin.sources, planes.origin.sources)


def test_a_sweep_attacks_its_first_model_or_a_named_one(finished_run, digits, tmp_path):
    done, sweep = finished_run
    store, models = Store(tmp_path), sweep.models()
    attack = {"off_manifold": "adversarial", "count": 4, "adversary": {"radius": RADIUS}}
    asked = small_sweep(planes={"first": attack, "named": attack | {"attacked": models[7].model_id}})
    mistake = refused(stored_planes, asked, store, "first")
    assert (mistake.field, mistake.value) == ("planes.first.attacked", models[0].model_id)
    for name, model in (("first", models[0]), ("named", models[7])):
        copy_model(done, store, model)
        planes = stored_planes(asked, store, name)
        assert planes.origin.attacked == model.model_id
        network = load_network(store, model, digits.image_shape, 10)
        config = asked.planes[name].model_copy(update={"attacked": model.model_id})
        assert torch.equal(planes.anchors, draw_plane_set(config, digits, network=network).anchors)


def test_the_labels_of_a_sweep_decide_which_images_are_mislabelled(digits, tmp_path):
    """The labels with the largest noise, of the sweep's kind."""
    grid = {"width": [4], "label_noise": [0.1, 0.0, 0.3], "label_noise_seed": [6], "seed": [0, 1]}
    planes = {"wrong": {"images": "train", "labels": "mislabelled", "count": 5}, "test": {"count": 5}}
    dataset = {"name": "digits", "train_size": 200, "test_size": 100, "noise_kind": "asymmetric"}
    sweep = small_sweep(grid=grid, planes=planes, dataset=dataset)
    given = given_labels(digits, "asymmetric", 0.3, seed=6)
    places = stored_planes(sweep, Store(tmp_path), "wrong").anchor_indices
    assert torch.equal(places, draw_plane_set(sweep.planes["wrong"], digits, given).anchor_indices)
    assert (given != digits.train_labels)[places].all()
    assert len(stored_planes(sweep, Store(tmp_path), "test")) == 5


def test_correct_labels_are_correct_in_every_model_of_the_sweep(digits, tmp_path):
    cases = [{"label_noise": [0.1, 0.2]}, {"label_noise": [0.4], "label_noise_seed": [5]}]
    planes = {"right": {"images": "train", "classes": "any", "labels": "correct", "count": 40}}
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1]}, cases=cases, planes=planes)
    used = stored_planes(sweep, Store(tmp_path), "right").anchor_indices.unique()
    assert len(used) > 40
    for model in sweep.models():
        given = given_labels(digits, "symmetric", model.label_noise, model.seeds.label_noise)
        assert torch.equal(given[used], digits.train_labels[used])

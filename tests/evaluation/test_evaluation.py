"""Label maps, probabilities and margins: against networks point by point, formulas and a dense search."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_planes import random_planes
from support.refusals import refused
from torch import nn

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import MarginsConfig
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.evaluation.margins import draw_lines, margins, places_of
from dbviz_ray.planes import GridPoints


@pytest.mark.parametrize("batch_points", [1, 7, 12, 40, 144, 300, 10_000])
def test_probabilities_are_the_softmax_of_the_scores_and_the_batch_does_not_matter(batch_points, cpu):
    network = initialised_network("fully_connected", 16, (1, 8, 8), 10, seed=1).double()
    planes = random_planes(5, 12)
    labelled = label_planes(network, planes, cpu, probabilities=True, batch_points=batch_points)
    [(_, _, points)] = GridPoints(planes, cpu, torch.float64).batches(10_000)
    with torch.no_grad():
        scores = network(points).view(5, 12, 12, 10)
    assert torch.equal(labelled.labels, scores.argmax(3).to(torch.uint8))
    assert labelled.probabilities.dtype == torch.float16
    torch.testing.assert_close(labelled.probabilities.double(), scores.softmax(3), rtol=1e-3, atol=1e-6)
    ranked = labelled.probabilities.float().gather(3, labelled.labels.long()[..., None])[..., 0]
    assert torch.equal(ranked, labelled.probabilities.float().amax(3))
    unasked = label_planes(network, planes, cpu, batch_points=batch_points)
    assert torch.equal(unasked.labels, labelled.labels)
    assert unasked.probabilities is None


def test_labels_in_bfloat16_are_those_of_autocast_and_the_network_is_as_before(cpu):
    network = initialised_network("resnet18_width", 2, (3, 8, 8), 10, seed=1).eval()
    planes = random_planes(9, 9, (3, 8, 8))
    exact = label_planes(network, planes, cpu).labels
    [(_, _, points)] = GridPoints(planes, cpu, torch.float32).batches(10_000)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = network(points).argmax(1).view(9, 9, 9)
    assert torch.equal(label_planes(network, planes, cpu, half=True).labels, expected.to(torch.uint8))
    assert torch.equal(label_planes(network, planes, cpu).labels, exact)


def test_scores_that_a_half_cannot_hold_have_probabilities_all_the_same(cpu):
    """Scores of 1e5 are infinite in float16; the softmax is taken before."""
    network = lambda images: torch.tensor([[1e5, 1e5, 0.0]]).expand(len(images), -1)  # noqa: E731
    labelled = label_planes(network, random_planes(2, 4, (1, 2, 2)), cpu, probabilities=True)
    assert labelled.probabilities.unique().tolist() == [0, 0.5]


def test_hooks_subclasses_and_replaced_methods_of_linear_layers_are_honoured(cpu):
    class Negated(nn.Linear):
        def forward(self, x):
            return -super().forward(x)

    planes = random_planes(2, 6, (1, 8, 8))
    negated = nn.Sequential(nn.Flatten(), Negated(64, 10), nn.Tanh()).double()
    hooked, replaced = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh()).double() for _ in range(2))
    hooked[1].register_forward_hook(lambda _module, _inputs, output: -output)
    replaced.forward = lambda x: -replaced[1](replaced[0](x))
    plain, last = (nn.Sequential(*negated[:1], nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 4, bias=False)) for _ in "12")
    last[3].register_forward_hook(lambda _module, _inputs, output: -output)
    for network in (negated, hooked, replaced, plain.double(), last.double()):
        assert torch.equal(*(label_planes(of, planes, cpu).labels for of in (network, lambda x: network(x.double()))))  # noqa: B023


def test_a_module_is_evaluated_in_evaluation_mode_and_left_as_it_was(cpu):
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(64, 10), nn.BatchNorm1d(10))
    network[3].eval()
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    planes = random_planes(2, 6, (1, 8, 8))
    assert torch.equal(label_planes(network, planes, cpu).labels, label_planes(network, planes, cpu).labels)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("classes", "dtype"), [(256, torch.uint8), (257, torch.uint16), (2**16, torch.uint16)])
def test_labels_hold_every_class(classes, dtype, cpu):
    planes = random_planes(2, 5, (1, 2, 2))
    maps = label_planes(lambda images: torch.arange(float(classes)).expand(len(images), -1), planes, cpu).labels
    assert maps.dtype == dtype
    assert (maps.numpy() == classes - 1).all()


def test_scores_that_are_no_row_for_each_image_are_refused(cpu):
    planes = random_planes(2, 5, (1, 2, 2))
    for scores in (torch.zeros(10), torch.tensor(1.0)):  # those of one image, for many
        refused(label_planes, lambda _, scores=scores: scores, planes, cpu)
    refused(label_planes, lambda _: torch.zeros(10), planes, cpu, batch_points=1)
    refused(label_planes, lambda images: torch.zeros(len(images), 2**16 + 1), planes, cpu)


@pytest.mark.parametrize("fail", [lambda: torch.empty(2**60), lambda: bytearray(2**60)], ids=["torch", "Python"])
def test_a_batch_that_does_not_fit_is_halved(fail, cpu):
    planes = random_planes(3, 10, (1, 8, 8))
    network = initialised_network("fully_connected", 4, (1, 8, 8), 10, 0)
    sizes = []

    def small_machine(images):
        sizes.append(len(images))
        if len(images) > 40:
            fail()
        return network(images)

    with torch.no_grad():
        maps = label_planes(small_machine, planes, cpu, batch_points=200).labels
    assert max(sizes) > 40
    assert torch.equal(maps, label_planes(network, planes, cpu).labels)
    with pytest.raises(torch.OutOfMemoryError):
        label_planes(lambda images: small_machine(images.repeat(41, 1, 1, 1)), planes, cpu)


CPU, POINTS = torch.device("cpu"), 20_000


def random_images(count, shape=(1, 3, 3), seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def untrained(seed=1):
    """A network in float64 that has several regions without a training."""
    network = initialised_network("fully_connected", 16, (1, 3, 3), 5, seed).double().eval()
    nn.init.zeros_(network[-1].bias)
    return network


def naive_distances(network, lines):
    """The first of many points on each line whose class is not that of the image, in float64; inf if there is none."""
    found = torch.full(lines.partners.shape, math.inf, dtype=torch.float64)
    shares = torch.linspace(0, lines.config.reach, POINTS, dtype=torch.float64)
    for row, start in enumerate(lines.starts):
        x = lines.images[start].double()
        for column, partner in enumerate(lines.partners[row]):
            y = lines.images[partner].double()
            with torch.no_grad():
                classes = network(x + shares.view(-1, 1, 1, 1) * (y - x)).argmax(1)
            changed = (classes != classes[0]).nonzero()
            if len(changed):
                found[row, column] = shares[changed[0, 0]] * (y - x).norm()
    return found


@pytest.mark.parametrize("scan", [{"reach": 3.0, "steps": 7}, {"scan": "paper"}])
def test_distances_to_a_hyperplane_are_those_of_the_formula(scan):
    """For scores (w.x + b, 0) the class changes at s = -(w.x + b) / w.(y - x)."""
    linear = nn.Linear(9, 2).double()
    with torch.no_grad():
        linear.weight[1], linear.bias[1] = 0, 0
    network = nn.Sequential(nn.Flatten(), linear)
    config = MarginsConfig(images=12, directions=6, tolerance=1e-3, **scan)
    lines = draw_lines(random_images(30), config)
    found = margins(network, lines, CPU)
    w, b = linear.weight[0].detach(), linear.bias[0].detach()
    x = lines.images[lines.starts].double().flatten(1)
    assert found.predicted.tolist() == (x @ w + b <= 0).long().tolist()
    directions = lines.images[lines.partners].double().flatten(2) - x[:, None]
    shares = -(x @ w + b)[:, None] / (directions @ w)
    expected = torch.where(shares > 0, shares * directions.norm(dim=2), math.inf)
    reaches = 3 * lines.lengths if "reach" in scan else torch.full_like(lines.lengths, 2251.51)
    torch.testing.assert_close(lines.reaches, reaches)
    expected[expected > lines.reaches] = math.inf
    assert 0 < expected.isinf().sum() < expected.numel()
    assert torch.equal(found.distances.isinf(), expected.isinf())
    finite = ~expected.isinf()
    assert (found.distances - expected)[finite].abs().max() <= 0.5e-3 + 1e-6


def test_the_scan_of_the_paper_takes_its_steps():
    at = places_of(MarginsConfig(scan="paper"))
    known = {0: 0, 1: 0.01, 11: 0.11, 20: 1.01, 51: 16.51, 76: 41.51, 101: 291.51, 199: 2251.51}
    assert {place: at[place].item() for place in known} == pytest.approx(known)
    assert len(at) == 200


@given(seed=st.integers(0, 1000), reach=st.sampled_from([0.5, 1.0, 2.0]), steps=st.integers(150, 400))
@settings(max_examples=15)
def test_margins_are_those_of_a_dense_search(seed, reach, steps):
    network = untrained(seed=seed)
    config = MarginsConfig(directions=3, reach=reach, steps=steps, tolerance=1e-3, seed=seed)
    lines = draw_lines(random_images(8, seed=seed), config)
    found = margins(network, lines, CPU).distances.double()
    dense = naive_distances(network, lines)
    spacing = float(lines.lengths.max()) * reach / POINTS
    # A region thinner than a step may be missed: then the first change lies further away, never nearer.
    assert (found >= dense - 1e-3 - spacing).all()
    same = torch.where(dense.isinf(), found.isinf(), (found - dense).abs() <= 1e-3 + spacing)
    assert same.float().mean() >= 0.9


@pytest.mark.parametrize(("batch_points", "fit"), [*((size, 100_000) for size in (1, 3, 20, 400, 100_000)), (200, 40)])
def test_the_batch_of_lines_does_not_matter_and_is_halved_where_it_does_not_fit(batch_points, fit):
    def check_memory(layer, inputs):
        if len(inputs[0]) > fit:
            raise torch.OutOfMemoryError

    network = untrained()
    lines = draw_lines(random_images(20), MarginsConfig(directions=4, steps=13))
    whole = margins(network, lines, CPU, batch_points=977)
    network[2].register_forward_pre_hook(check_memory)
    found = margins(network, lines, CPU, batch_points=batch_points)
    assert torch.equal(found.predicted, whole.predicted)
    assert torch.equal(found.distances, whole.distances)
    assert 0 < whole.distances.isinf().sum() < whole.distances.numel()


@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_first_layer_changes_nothing(bias):
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 20, bias=bias), nn.ReLU(), nn.Linear(20, 4)).double()
    lines = draw_lines(random_images(20), MarginsConfig(directions=4, reach=2.0))
    folded, unfolded = margins(network, lines, CPU), margins(nn.Sequential(network), lines, CPU)
    assert torch.equal(folded.predicted, unfolded.predicted)
    assert torch.equal(folded.distances, unfolded.distances)


def test_searched_lines_drop_out_and_bisection_stops_at_the_tolerance():
    asked = []

    def network(images):
        asked.append(len(images))
        return torch.stack([images.flatten(1)[:, 0], torch.full((len(images),), 0.05)], dim=1)

    images = torch.linspace(0, 10, 11).view(11, 1, 1, 1)
    config = MarginsConfig(images=11, directions=10, steps=100, tolerance=0.1)
    lines = draw_lines(images, config)
    margins(network, lines, CPU, batch_points=110)
    # Of 110 lines 90 never change their class; one from 0 and its way back take 101 steps together, each until it does.
    assert lines.halvings == 0
    assert sum(asked) == 11 + 90 * 100 + 10 * 101
    finer = draw_lines(images, config.model_copy(update={"tolerance": 0.1 / 8}))
    assert finer.halvings == 3
    asked.clear()
    margins(network, finer, CPU, batch_points=110)
    assert sum(asked) == 11 + 90 * 100 + 10 * 101 + 3 * 20


def test_lines_lead_from_distinct_images_to_distinct_other_ones(digits):
    lines = draw_lines(digits.train_images, MarginsConfig(images=50, directions=7), digits.normalised)
    assert len(set(lines.indices[lines.starts].tolist())) == 50
    for start, partners in zip(lines.indices[lines.starts], lines.indices[lines.partners], strict=True):
        assert len({int(start), *partners.tolist()}) == 8
    expected = digits.normalised(digits.train_images)[lines.indices]
    assert torch.equal(lines.images, expected)
    assert lines.lengths.shape == (50, 7)
    assert (lines.lengths > 0).all()


def test_images_that_are_the_same_are_no_partners():
    images = torch.cat([torch.zeros(40, 1, 2, 2), random_images(2, (1, 2, 2))])
    lines = draw_lines(images, MarginsConfig(directions=2))
    assert len(lines.starts) == 42
    assert (lines.lengths > 0).all()
    for too_few, config in ((images, MarginsConfig(directions=3)), (random_images(10), MarginsConfig(directions=10))):
        mistake = refused(draw_lines, too_few, config)
        assert (mistake.field, mistake.value) == ("margins.directions", config.directions)


def test_drawing_depends_on_the_seed_alone_and_more_begin_with_the_same_ones(digits):
    def ends(**fields):
        config = MarginsConfig(**fields)
        lines = draw_lines(digits.split(config.split)[0], config)
        return np.column_stack([lines.indices[lines.starts], lines.indices[lines.partners]])

    few, many = ends(images=5), ends(images=9)
    assert np.array_equal(few, many[:5])
    assert np.array_equal(few, ends(images=5))
    assert not np.array_equal(few, ends(images=5, seed=1))
    assert len(ends(images=1000, directions=2)) == len(digits.train_labels), "a smaller split is taken whole"
    assert ends(images=1000, split="test").max() < len(digits.test_labels)

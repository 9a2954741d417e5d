"""What a step computes: against autograd on ordinary modules, and by hand."""

import copy
from itertools import repeat

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.cohorts import batch_of, copies_of, pixel_limits
from support.one_by_one import replace_dropout
from support.small_networks import SMALL
from torch.func import grad
from torch.nn import functional as F

from dbviz_ray.architectures import convolutional, initialised_network
from dbviz_ray.config import AdversaryConfig, DistillationConfig, TrainingConfig
from dbviz_ray.config.seeds import torch_generator
from dbviz_ray.training import gradients
from dbviz_ray.training.gradients import IMAGES, LABELS, cross_entropy
from dbviz_ray.training.network import CohortNetwork

SHAPE, CLASSES = (1, 8, 8), 10


@pytest.fixture
def scores():
    """Logits of students and teachers, and labels."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = 3 * torch.randn(2, 3, 7, CLASSES, dtype=torch.float64, generator=generator)
    return logits, teacher, torch.randint(CLASSES, (3, 7), generator=generator)


def test_cross_entropy_of_bfloat16_scores_is_computed_in_float32(scores):
    logits, _, labels = scores
    rounded = logits.bfloat16()
    loss = cross_entropy(rounded, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(rounded.float(), labels))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_diverged_teacher_spoils_only_its_own_student(kind, scores):
    logits, teacher, labels = scores
    teacher[1, 2] = float("nan")
    settings = DistillationConfig(recipe="teacher", labels=kind)
    gradient = torch.func.grad(lambda own: gradients.training_loss(own, labels, teacher, settings))(logits)
    assert [own.isfinite().all().item() for own in gradient] == [True, False, True]


def members_of(architecture, count=2):
    """Networks in which every parameter matters; some heads would start at zero."""
    width, options = SMALL.get(architecture, (2, {}))
    if architecture == "vit":
        options = options | {"dropout": 0.2}
    torch.manual_seed(0)
    members = [initialised_network(architecture, width, SHAPE, CLASSES, options=options).double() for _ in range(count)]
    with torch.no_grad():
        for parameter in (p for member in members for p in member.parameters()):
            parameter += 0.1 * torch.randn_like(parameter)
    return members


# torch warns if an operation has no batching rule: the members then run one after the other.
@pytest.mark.filterwarnings("error:There is a performance drop")
@pytest.mark.parametrize("architecture", SMALL)
def test_gradients_of_every_family_equal_those_of_members_alone(architecture, monkeypatch):
    monkeypatch.setattr(convolutional, "DENSENET_LAYERS", (2, 2))  # the code of 121 layers, in a tenth of the time
    monkeypatch.setattr(convolutional, "RESNET18_BLOCKS", 1)
    members = members_of(architecture)
    cohort = CohortNetwork(copy.deepcopy(members), TrainingConfig(), pixel_limits(-9.0, 9.0, 1.0), copies_of(members))
    assert bool(cohort.mask_shapes(torch.zeros(6, *SHAPE, dtype=torch.float64))) == (architecture == "vit")
    batch = batch_of(cohort, 6, seed=6)
    found, logits = cohort.backward(batch)
    for member, reference in enumerate(members):
        replace_dropout(reference.train(), repeat(torch_generator("cpu", "dropout", member, 6)).__next__)
        alone = reference(batch[IMAGES][member])
        F.cross_entropy(alone, batch[LABELS][member]).backward()
        torch.testing.assert_close(logits[member], alone.detach(), rtol=1e-9, atol=1e-9)
        for name, parameter in reference.named_parameters():
            torch.testing.assert_close(found[name][member], parameter.grad, rtol=1e-8, atol=1e-9)
        for name, buffer in reference.named_buffers():
            torch.testing.assert_close(cohort.buffers[name][member], buffer)


def test_a_perturbation_is_as_long_as_its_radius_for_each_member():
    parameters = {"w": torch.zeros(3, 2), "b": torch.ones(3)}
    ascent = {"w": torch.tensor([[2.0, 4.0], [0.0, 0.0], [0.0, 0.0]]), "b": torch.tensor([4.0, -5.0, 0.0])}
    moved = gradients.perturbed(parameters, ascent, 3.0)
    torch.testing.assert_close(moved["w"], torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(moved["b"], torch.tensor([3.0, -2.0, 1.0]))


def attack(weights, images, start, radius, step, steps, *limits):
    """On a loss whose gradients are the weights; limits are the lowest and highest pixel, and the unit of radii."""
    ascent = grad(lambda moved: (moved * weights).sum())
    settings = AdversaryConfig(radius=radius, step=step, steps=steps)
    return gradients.attacked(ascent, images, start, settings, torch.stack(limits))


@given(st.integers(0, 2**31), st.floats(0.01, 3), st.floats(0.01, 3), st.integers(1, 4))
def test_an_attack_stays_in_its_ball_and_in_the_range_of_pixels(seed, radius, step, steps):
    generator = torch.Generator().manual_seed(seed)
    images, start, weights = (torch.rand(2, 3, 2, 4, 4, generator=generator) for _ in range(3))
    unit = torch.tensor([0.1, 0.4]).view(2, 1, 1)
    moved = attack(weights - 0.5, images, 2 * start - 1, radius, step, steps, 0 * unit, torch.ones(2, 1, 1), unit)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert ((moved - images).abs() <= radius * unit + 1e-6).all()
    assert not torch.equal(moved, images)

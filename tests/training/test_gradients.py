"""What a step and the sharpness compute: against autograd on ordinary modules, and by hand."""

import copy
from itertools import repeat

import pytest
import torch
from support.cohorts import batch_of, copies_of, pixel_limits
from support.one_by_one import replace_dropout
from support.small_networks import SMALL
from torch.nn import functional as F

from dbviz_ray.architectures import convolutional, initialised_network
from dbviz_ray.config import DistillationConfig, TrainingConfig
from dbviz_ray.config.seeds import torch_generator
from dbviz_ray.training import gradients
from dbviz_ray.training.gradients import IMAGES, LABELS, cross_entropy
from dbviz_ray.training.network import CohortNetwork, StackedState
from dbviz_ray.training.optimizers import schedule_factor
from dbviz_ray.training.sharpness import RADIUS, sharpness

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


def by_hand(network, images, labels):
    """Autograd on an ordinary module, its weights moved and moved back."""
    network = copy.deepcopy(network).eval()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in network.parameters()]).norm()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += RADIUS * parameter.grad / norm
        return (F.cross_entropy(network(images), labels) - loss).item()


@pytest.mark.parametrize("architecture", ["fully_connected", "resnet18_width"])
def test_sharpness_of_every_member_is_its_own(architecture):
    networks = [initialised_network(architecture, 2, (1, 8, 8), 10, seed).double() for seed in range(3)]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 1, 8, 8, dtype=torch.float64, generator=generator)  # more than one batch
    labels = torch.randint(10, (3, 300), generator=generator)
    expected = [by_hand(network, images, own) for network, own in zip(networks, labels, strict=True)]
    assert sharpness(StackedState(networks), images, labels).tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ("constant", 100, {0: 1, 399: 1}),
        ("drops", 100, {0: 1, 151: 1, 152: 0.1, 251: 0.1, 252: 0.01, 351: 0.01, 352: 0.001, 399: 0.001}),
        ("drops", 8, {11: 1, 12: 0.1, 19: 0.1, 20: 0.01, 27: 0.01, 28: 0.001}),  # after 3, 5 and 7 epochs of 4 steps
        ("cosine", 100, {0: 1, 100: (1 + 0.5**0.5) / 2, 200: 0.5, 300: (1 - 0.5**0.5) / 2}),
        ("inverse_sqrt", 500, {0: 1, 511: 1, 512: 0.5**0.5, 1024: (1 / 3) ** 0.5, 1535: (1 / 3) ** 0.5, 1536: 0.5}),
    ],
)
def test_schedules_by_hand(schedule, epochs, expected):
    settings = TrainingConfig(schedule=schedule, epochs=epochs)
    made = {step: schedule_factor(settings, step, steps_per_epoch=4) for step in expected}
    assert made == pytest.approx(expected)

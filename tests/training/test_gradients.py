"""What a step computes: against autograd on ordinary modules, and by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cohorts import batch_of, pixel_limits
from support.one_by_one import attack, replace_dropout, sharpness_aware_gradients
from support.small_networks import SMALL
from torch.func import grad
from torch.nn import functional as F

from dbviz_ray.architectures import build_network
from dbviz_ray.config import AdversaryConfig, DistillationConfig, TrainingConfig
from dbviz_ray.config.seeds import torch_generator
from dbviz_ray.datasets import Dataset
from dbviz_ray.training.gradients import (
    IMAGES,
    LABELS,
    START,
    PixelLimits,
    attacked,
    cross_entropy,
    distillation_loss,
    gradient_step,
    perturbed,
)
from dbviz_ray.training.network import CohortNetwork

SHAPE, CLASSES = (1, 8, 8), 10
ANY_PIXELS = pixel_limits(-9.0, 9.0, 1.0)
PLAIN = TrainingConfig()


@pytest.fixture
def scores():
    """Logits of students and teachers, and labels."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = 3 * torch.randn(2, 3, 7, CLASSES, dtype=torch.float64, generator=generator)
    return logits, teacher, torch.randint(CLASSES, (3, 7), generator=generator)


def test_cross_entropy_is_the_sum_of_the_members_means(scores):
    logits, _, labels = scores
    expected = sum(F.cross_entropy(own, given) for own, given in zip(logits, labels, strict=True))
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


def test_cross_entropy_of_probabilities(scores):
    logits, teacher, _ = scores
    probabilities = teacher.softmax(-1)
    expected = -(probabilities * logits.log_softmax(-1)).sum(-1).mean(1).sum()
    torch.testing.assert_close(cross_entropy(logits, probabilities), expected)
    labels = F.one_hot(scores[2], CLASSES).double()
    torch.testing.assert_close(cross_entropy(logits, labels), cross_entropy(logits, scores[2]))


def test_cross_entropy_of_bfloat16_scores_is_computed_in_float32(scores):
    logits, _, labels = scores
    rounded = logits.bfloat16()
    loss = cross_entropy(rounded, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(rounded.float(), labels))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 30.0])
def test_soft_distillation_is_the_divergence_from_the_teacher_plus_a_constant(temperature, scores):
    logits, teacher, labels = scores
    settings = DistillationConfig(recipe="teacher", temperature=temperature)
    expected = torch.zeros((), dtype=torch.float64)
    for own, taught in zip(logits, teacher, strict=True):
        target = torch.distributions.Categorical(logits=taught / temperature)
        student = torch.distributions.Categorical(logits=own / temperature)
        divergence = torch.distributions.kl_divergence(target, student) + target.entropy()
        expected += temperature**2 * divergence.mean()
    torch.testing.assert_close(distillation_loss(logits, labels, teacher, settings), expected)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn(scores):
    _, teacher, labels = scores
    student = teacher.clone().requires_grad_()
    loss = distillation_loss(student, labels, teacher, DistillationConfig(recipe="teacher"))
    torch.testing.assert_close(torch.autograd.grad(loss, student)[0], torch.zeros_like(student), rtol=0, atol=1e-12)


def test_hard_distillation_learns_the_teachers_classes(scores):
    logits, teacher, labels = scores
    settings = DistillationConfig(recipe="teacher", labels="hard")
    expected = sum(F.cross_entropy(own, taught.argmax(1)) for own, taught in zip(logits, teacher, strict=True))
    torch.testing.assert_close(distillation_loss(logits, labels, teacher, settings), expected)


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("share", [0.25, 0.9])
def test_the_given_labels_get_the_rest_of_the_share(kind, share, scores):
    logits, teacher, labels = scores
    settings = DistillationConfig(recipe="teacher", labels=kind)
    alone = distillation_loss(logits, labels, teacher, settings)
    mixed = distillation_loss(logits, labels, teacher, settings.model_copy(update={"share": share}))
    torch.testing.assert_close(mixed, share * alone + (1 - share) * cross_entropy(logits, labels))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_diverged_teacher_spoils_only_its_own_student(kind, scores):
    logits, teacher, labels = scores
    teacher[1, 2] = float("nan")
    settings = DistillationConfig(recipe="teacher", labels=kind)
    gradient = torch.func.grad(lambda own: distillation_loss(own, labels, teacher, settings))(logits)
    assert [own.isfinite().all().item() for own in gradient] == [True, False, True]


def members_of(architecture, count=2):
    """Networks in which every parameter matters; some heads would start at zero."""
    width, options = SMALL.get(architecture, (2, {}))
    if architecture == "vit":
        options = options | {"dropout": 0.2}
    torch.manual_seed(0)
    members = [build_network(architecture, width, SHAPE, CLASSES, options).double() for _ in range(count)]
    with torch.no_grad():
        for parameter in (p for member in members for p in member.parameters()):
            parameter += 0.1 * torch.randn_like(parameter)
    return members


def assert_step_equals_members_alone(cohort, references, images, sam_radius=0.0):
    batch = batch_of(cohort, images, seed=images)
    gradients, logits = cohort.backward(batch)
    for member, reference in enumerate(references):
        reference.stream = torch_generator("cpu", "dropout", member, images)
        reference.masks.clear()
        reference.zero_grad()
        own, labels = batch[IMAGES][member], batch[LABELS][member]
        alone = reference(own)
        F.cross_entropy(alone, labels).backward()
        if sam_radius:
            sharpness_aware_gradients(
                reference, sam_radius, lambda net=reference, x=own, y=labels: F.cross_entropy(net(x), y)
            )
        torch.testing.assert_close(logits[member], alone.detach(), rtol=1e-9, atol=1e-9)
        for name, parameter in reference.named_parameters():
            torch.testing.assert_close(gradients[name][member], parameter.grad, rtol=1e-8, atol=1e-9)
        for name, buffer in reference.named_buffers():
            torch.testing.assert_close(cohort.buffers[name][member], buffer)


def references_of(members):
    references = [copy.deepcopy(member).train() for member in members]
    for reference in references:
        reference.masks = replace_dropout(reference, lambda own=reference: own.stream)
    return references


# torch warns if an operation has no batching rule: the members then run one after the other.
@pytest.mark.filterwarnings("error:There is a performance drop")
@pytest.mark.parametrize("architecture", SMALL)
def test_gradients_of_every_family_equal_those_of_members_alone(architecture):
    members = members_of(architecture)
    cohort = CohortNetwork(copy.deepcopy(members), PLAIN, ANY_PIXELS)
    assert bool(cohort.mask_shapes(torch.zeros(6, *SHAPE, dtype=torch.float64))) == (architecture == "vit")
    assert_step_equals_members_alone(cohort, references_of(members), 6)


@pytest.mark.parametrize("sam_radius", [0.0, 0.5], ids=["plain", "sam"])
@pytest.mark.parametrize("stack", [3, 2, 1])
def test_step_after_step_in_any_stack(stack, sam_radius):
    members = members_of("support.user_networks:convolutional", 3)
    settings = TrainingConfig(sam_radius=sam_radius)
    cohort = CohortNetwork(copy.deepcopy(members), settings, ANY_PIXELS)
    cohort.restack(stack)
    references = references_of(members)
    for images in (8, 8, 5):
        assert_step_equals_members_alone(cohort, references, images, sam_radius)
    images = torch.randn(4, *SHAPE, dtype=torch.float64)
    for member, reference in enumerate(references):
        torch.testing.assert_close(cohort.predict(images)[member], reference.eval()(images))


def test_sharpness_aware_steps_keep_the_statistics_of_the_first_pass():
    members = members_of("resnet18_width")
    settings = TrainingConfig(sam_radius=0.5)
    cohort = CohortNetwork(copy.deepcopy(members), settings, ANY_PIXELS)
    assert_step_equals_members_alone(cohort, references_of(members), 6, sam_radius=0.5)
    assert cohort.buffers["1.norm1.num_batches_tracked"].tolist() == [1, 1]


def linear(parameters, _buffers, images, *, training):
    """Logits of a linear model without bias, `[m, n, classes]`."""
    return images.flatten(2) @ parameters["w"].mT


def linear_problem(members=2, images=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    batch = {
        IMAGES: torch.rand(members, images, *SHAPE, dtype=torch.float64, generator=generator),
        LABELS: torch.randint(CLASSES, (members, images), generator=generator),
    }
    return {"w": torch.randn(members, CLASSES, 64, dtype=torch.float64, generator=generator)}, batch


def softmax_gradient(weights, images, labels):
    """Gradient of a linear model's mean cross-entropy: (softmax - labels)^T x / n."""
    flat = images.flatten(1)
    return (torch.softmax(flat @ weights.T, 1) - F.one_hot(labels, CLASSES)).T @ flat / len(labels)


@pytest.mark.parametrize("radius", [0.0, 0.05, 2.0])
def test_sharpness_aware_minimisation_of_a_linear_model_in_closed_form(radius):
    parameters, batch = linear_problem()
    parameters["w"][1] *= 3
    step = gradient_step(linear, TrainingConfig(sam_radius=radius), None, ANY_PIXELS)
    gradients, logits = step(parameters, {}, {}, batch)
    for member, weights in enumerate(parameters["w"]):
        own = (batch[IMAGES][member], batch[LABELS][member])
        ascent = softmax_gradient(weights, *own)
        moved = weights + radius * ascent / ascent.square().sum().sqrt() if radius else weights
        expected = softmax_gradient(moved, *own)
        torch.testing.assert_close(gradients["w"][member], expected)
    torch.testing.assert_close(logits, linear(parameters, {}, batch[IMAGES], training=True))


def test_a_perturbation_is_as_long_as_its_radius_for_each_member():
    parameters = {"w": torch.zeros(3, 2), "b": torch.ones(3)}
    ascent = {"w": torch.tensor([[2.0, 4.0], [0.0, 0.0], [0.0, 0.0]]), "b": torch.tensor([4.0, -5.0, 0.0])}
    moved = perturbed(parameters, ascent, 3.0)
    torch.testing.assert_close(moved["w"], torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(moved["b"], torch.tensor([3.0, -2.0, 1.0]))


def a_loss(weights):
    return lambda images: (images * weights).sum()


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 3), st.floats(0.01, 3), st.integers(1, 4))
def test_an_attack_stays_in_its_ball_and_in_the_range_of_pixels(seed, radius, step, steps):
    generator = torch.Generator().manual_seed(seed)
    images, start, weights = (torch.rand(2, 3, 2, 4, 4, generator=generator) for _ in range(3))
    limits = PixelLimits(torch.zeros(2, 1, 1), torch.ones(2, 1, 1), torch.tensor([0.1, 0.4]).view(2, 1, 1))
    settings = AdversaryConfig(radius=radius, step=step, steps=steps)
    moved = attacked(grad(a_loss(weights - 0.5)), images, 2 * start - 1, settings, limits)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert ((moved - images).abs() <= radius * limits.unit + 1e-6).all()
    assert not torch.equal(moved, images)


def test_one_step_of_an_attack_from_the_image_itself_follows_the_sign():
    images = torch.full((1, 1, 1, 2, 2), 0.5)
    weights = torch.tensor([[3.0, -0.1], [0.0, -7.0]])
    limits = PixelLimits(torch.tensor(0.0), torch.tensor(0.9), torch.tensor(0.1))
    for radius, step, up, down in ((8.0, 2.0, 0.7, 0.3), (1.0, 2.0, 0.6, 0.4), (9.0, 7.0, 0.9, 0.0)):
        settings = AdversaryConfig(radius=radius, step=step, steps=1)
        moved = attacked(grad(a_loss(weights)), images, torch.zeros_like(images), settings, limits)
        torch.testing.assert_close(moved[0, 0, 0], torch.tensor([[up, down], [0.5, down]]))


def test_an_attack_starts_anywhere_in_the_ball():
    images, start = torch.full((1, 1, 1, 1, 3), 0.5), torch.tensor([-1.0, 0.0, 0.5]).view(1, 1, 1, 1, 3)
    limits = PixelLimits(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.1))
    settings = AdversaryConfig(radius=3.0, step=1.0, steps=1)
    moved = attacked(grad(a_loss(torch.zeros(3))), images, start, settings, limits)
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.2, 0.5, 0.65]))


def test_an_attack_raises_the_loss_and_equals_that_on_members_alone():
    members = members_of("support.user_networks:convolutional")
    data = Dataset(*[torch.zeros(2)] * 4, tuple("0123456789"), mean=(0.4,), deviation=(0.3,))
    limits = pixel_limits(-4 / 3, 2.0, 1 / 255 / 0.3)
    settings = AdversaryConfig(radius=20.0, step=5.0, steps=4)
    cohort = CohortNetwork(copy.deepcopy(members), PLAIN, limits)
    images = torch.rand(2, 6, *SHAPE, dtype=torch.float64) / 0.3 - 4 / 3
    labels, start = torch.randint(CLASSES, (2, 6)), torch.rand(2, 6, *SHAPE, dtype=torch.float64) * 2 - 1

    def loss(moved):
        logits = cohort.forward(cohort.parameters, cohort.buffers, moved, training=False)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")

    moved = attacked(grad(loss), images, start, settings, limits)
    assert loss(moved) > loss(images) + 0.1
    for member, network in enumerate(members):
        alone = attack(network, images[member], labels[member], start[member], settings, data)
        torch.testing.assert_close(moved[member], alone)


def test_a_network_learns_from_the_attacked_images():
    parameters, batch = linear_problem()
    batch[START] = torch.zeros_like(batch[IMAGES])
    adversary = AdversaryConfig(radius=0.3, step=0.3, steps=1)
    step = gradient_step(linear, TrainingConfig(adversary=adversary), None, ANY_PIXELS)
    gradients, _ = step(parameters, {}, {}, batch)
    for member, weights in enumerate(parameters["w"]):
        images, labels = batch[IMAGES][member], batch[LABELS][member]
        scores = images.flatten(1) @ weights.T
        of_pixels = (torch.softmax(scores, 1) - F.one_hot(labels, CLASSES)) @ weights
        moved = images + 0.3 * of_pixels.sign().view_as(images)
        torch.testing.assert_close(gradients["w"][member], softmax_gradient(weights, moved, labels))

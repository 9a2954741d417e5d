from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dbviz_ray.config import DistillationConfig
from dbviz_ray.training.gradients import cross_entropy, distillation_loss

MEMBERS, IMAGES, CLASSES = 3, 7, 5


@pytest.fixture
def scores():
    """Logits of students and teachers, and labels."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = 3 * torch.randn(2, MEMBERS, IMAGES, CLASSES, dtype=torch.float64, generator=generator)
    return logits, teacher, torch.randint(CLASSES, (MEMBERS, IMAGES), generator=generator)


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


@pytest.mark.parametrize("labels", ["soft", "hard"])
def test_a_diverged_teacher_spoils_only_its_own_student(labels):
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(2, 5, 3, generator=generator) for _ in range(2))
    teacher[1, 2] = float("nan")
    given = torch.zeros(2, 5, dtype=torch.int64)
    settings = DistillationConfig(recipe="teacher", labels=labels)
    gradient = torch.func.grad(lambda own: distillation_loss(own, given, teacher, settings))(logits)
    assert gradient[0].isfinite().all()
    assert not gradient[1].isfinite().all()

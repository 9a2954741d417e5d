"""Losses, and one training step as a pure function of parameters, buffers and batch, which can be captured.

The loss is the sum of the members' mean losses, so every member's gradient is its own.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

from dbviz_ray.config import AdversaryConfig, DistillationConfig, TrainingConfig
from dbviz_ray.datasets import Dataset

State = dict[str, Tensor]
Batch = dict[str, Tensor]
"""The input of one step: "images" `[members, n, channels, height, width]`, "labels" (int64 `[members, n]` or
probabilities `[members, n, classes]`), "start" of an attack (shaped like images, between -1 and 1), dropout masks by
buffer name, and for ordinary modules "seeds" (int64 `[members]`) of the numbers that they draw themselves."""
IMAGES, LABELS, START, SEEDS = "images", "labels", "start", "seeds"
SMALLEST_NORM = 1e-12
"""The smallest gradient norm for which SAM moves by its whole radius."""


class Forward(Protocol):
    """The members' forward pass."""

    def __call__(self, parameters: State, buffers: State, images: Tensor, *, training: bool) -> Tensor:
        """Logits `[members, n, classes]` of images `[members, n, ...]`."""


Step = Callable[[State, State, State, Batch], tuple[State, Tensor]]
"""From (parameters, buffers, teachers' state, batch) to all gradients and logits `[members, n, classes]`."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over members of the mean cross-entropy, a scalar.

    Logits `[members, n, classes]`; labels int64 `[members, n]`, or probabilities `[members, n, classes]`. Having the
    classes in the second dimension is 4 times faster on CPUs.
    """
    soft = labels.is_floating_point()
    losses = F.cross_entropy(
        at_least_single(logits).transpose(1, 2), labels.transpose(1, 2) if soft else labels, reduction="sum"
    )
    return losses / labels.shape[1]


def training_loss(logits: Tensor, labels: Tensor, taught: Tensor | None, settings: DistillationConfig | None) -> Tensor:
    """`cross_entropy` or, with logits `[members, n, classes]` of a teacher, the loss of `DistillationConfig`."""
    if settings is None or taught is None:
        return cross_entropy(logits, labels)
    if settings.labels == "hard":
        scores = at_least_single(taught)
        chosen = torch.zeros_like(scores).scatter(-1, scores.argmax(dim=-1, keepdim=True), 1)
        of_teacher = cross_entropy(logits, chosen + 0 * scores)  # NaN if the teacher diverged
    else:
        warmth = settings.temperature
        probabilities = torch.softmax(at_least_single(taught) / warmth, dim=-1)
        of_teacher = warmth**2 * cross_entropy(at_least_single(logits) / warmth, probabilities)
    if settings.share == 1:
        return of_teacher
    return settings.share * of_teacher + (1 - settings.share) * cross_entropy(logits, labels)


def losses_and_errors(logits: Tensor, *labellings: Tensor) -> list[Tensor]:
    """Mean cross-entropy and share of wrong classes, each `[members]`, for each labelling in turn.

    Logits `[members, n, classes]`, labels `[members, n]`. The softmax runs over the second dimension: CPUs then compute
    several images at a time.
    """
    log_probabilities = F.log_softmax(logits.float().transpose(1, 2).contiguous(), dim=1)
    predicted = logits.max(dim=-1).indices
    metrics = []
    for labels in labellings:
        metrics.append(-log_probabilities.gather(1, labels[:, None]).mean(dim=(1, 2)))
        metrics.append((predicted != labels).float().mean(dim=1))
    return metrics


def at_least_single(tensor: Tensor) -> Tensor:
    """A tensor in single precision, or in its own if that is higher."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def gradient_step(forward: Forward, settings: TrainingConfig, teacher: Forward | None, limits: Tensor) -> Step:
    """The step that `settings` asks for. Its logits come from the first pass, before the weights are perturbed.

    Sharpness-aware minimisation takes g = grad L(w + rho * grad L(w) / |grad L(w)|), the norm over all parameters of
    one member (Foret et al., arXiv 2010.01412, eq. 2), and batch norm's running statistics from the first pass only.
    """

    def step(parameters: State, buffers: State, teachers: State, batch: Batch) -> tuple[State, Tensor]:
        images, labels = batch[IMAGES], batch[LABELS]
        masks = {name: tensor for name, tensor in batch.items() if name not in (IMAGES, LABELS, START, SEEDS)}
        if settings.adversary is not None:

            def loss_of_images(moved: Tensor) -> Tensor:
                return cross_entropy(forward(parameters, buffers, moved, training=False), labels)

            images = attacked(grad(loss_of_images), images, batch[START], settings.adversary, limits)
        taught = teacher({}, teachers, images, training=False) if teacher is not None else None

        def loss_and_logits(parameters: State, buffers: State) -> tuple[Tensor, Tensor]:
            logits = forward(parameters, buffers | masks, images, training=True)
            return training_loss(logits, labels, taught, settings.distillation), logits

        if not settings.sam_radius:
            return grad(loss_and_logits, has_aux=True)(parameters, buffers)  # type: ignore[no-any-return]
        untouched = {name: buffer.clone() for name, buffer in buffers.items()}
        ascent, logits = grad(loss_and_logits, has_aux=True)(parameters, buffers)
        moved = perturbed(parameters, ascent, settings.sam_radius)
        return grad(loss_and_logits, has_aux=True)(moved, untouched)[0], logits

    return step


def perturbed(parameters: State, ascent: State, radius: float) -> State:
    """Each member's parameters, moved by `radius` along its own gradient: w + radius * g / |g|."""
    norms = [torch.linalg.vector_norm(gradient.reshape(len(gradient), -1), dim=1) for gradient in ascent.values()]
    norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    scale = radius / norm.clamp(min=SMALLEST_NORM)
    return {
        name: parameter + ascent[name] * scale.view(-1, *(1 for _ in parameter.shape[1:]))
        for name, parameter in parameters.items()
    }


def attacked(
    gradient: Callable[[Tensor], Tensor], images: Tensor, start: Tensor, settings: AdversaryConfig, limits: Tensor
) -> Tensor:
    """Images `[..., channels, height, width]` moved along a gradient, within the ball and the pixels' range."""
    least, most, unit = limits.unbind()
    radius, length = settings.radius * unit, settings.step * unit
    lowest, highest = torch.maximum(images - radius, least), torch.minimum(images + radius, most)
    moved = (images + start * radius).clamp(lowest, highest)
    for _ in range(settings.steps):
        moved = (moved + length * gradient(moved).sign()).clamp(lowest, highest)
    return moved


def pixel_limits(dataset: Dataset, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Limits of an attack: lowest and highest normalised pixel, and one raw pixel unit, `[3, channels, 1, 1]`."""
    mean, deviation = (
        torch.tensor(values, device=device, dtype=dtype).view(-1, 1, 1) for values in (dataset.mean, dataset.deviation)
    )
    return torch.stack([-mean / deviation, (1 - mean) / deviation, 1 / (dataset.pixel_range * deviation)])

"""Training of a cohort: a plain function of configurations and images, without Ray and without files.

Every epoch's draws are addressed by seed and epoch (`dbviz_ray.seeds`), so the state between two epochs is just
weights, optimizer moments, history and the epoch's number, and a resumed training equals an uninterrupted one
bit by bit. Nothing in an epoch waits for the device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.cohort import State, member_state, stack
from dbviz_ray.config import ModelConfig, TrainingConfig
from dbviz_ray.datasets import Dataset, noisy_labels
from dbviz_ray.datasets.augmentation import Batches

HISTORY = ("train_loss", "train_error", "train_loss_clean", "train_error_clean", "test_loss", "test_error")
"""Columns of a model's history. The train columns are running values over the epoch's own batches (augmented, in
training mode, while the weights move), against the given, possibly noisy, labels and against the clean ones. The
test columns are exact, and NaN in epochs without an evaluation."""

EVALUATION_BATCH = 1000


class Checkpoints(Protocol):
    """Where a cohort's state is kept, should the training be interrupted."""

    def load(self) -> State | None:
        """The last state saved, or None."""

    def save(self, state: State) -> None:
        """Replace the last state by this one, wholly or not at all."""


@dataclass(frozen=True)
class TrainedModel:
    """What training leaves of one model."""

    config: ModelConfig
    weights: State
    history: dict[str, Tensor]
    """One tensor `[epochs]` a column of `HISTORY`."""
    given_labels: Tensor
    """Training labels as the model saw them, int64 `[n]`."""
    predictions: dict[str, Tensor]
    """Predicted classes int64 `[n]` of the last weights on the plain images of "train" and "test"."""

    @property
    def diverged(self) -> bool:
        """Whether the last epoch's losses, in training or with its last weights, are not finite numbers."""
        return not all(math.isfinite(self.history[name][-1]) for name in ("train_loss", "test_loss"))


class CohortTraining:
    """A cohort between two epochs."""

    def __init__(self, models: Sequence[ModelConfig], dataset: Dataset, device: torch.device) -> None:
        shared = models[0]
        if any(model.shape_key != shared.shape_key for model in models):
            raise ValueError("the models of a cohort may differ in seeds and label noise only")
        self.models = models
        self.dataset = dataset
        self.device = device
        self.settings = shared.training
        self._dtype = torch.float64 if self.settings.precision == "float64" else torch.float32
        classes = len(dataset.class_names)
        networks = [
            initialised_network(m.architecture, m.width, dataset.image_shape, classes, m.seeds.init).to(
                device, self._dtype
            )
            for m in models
        ]
        autocast = torch.bfloat16 if self.settings.precision == "bfloat16" else None
        self.network = stack(networks, autocast)
        self.optimizer = _optimizer(list(self.network.parameters.values()), self.settings)
        self.epoch = 0
        self.history = torch.full((len(HISTORY), self.settings.epochs, len(models)), math.nan, device=device)
        self.given_labels = torch.stack(
            [noisy_labels(dataset.train_labels, classes, m.label_noise, m.seeds.label_noise) for m in models]
        ).to(device)
        self._clean_labels = dataset.train_labels.to(device)
        self._batches = Batches(models, dataset, device, self._dtype)
        self._test_labels = dataset.test_labels.to(device)

    def run_epoch(self) -> None:
        """One pass over the training images, and a test evaluation where one is due."""
        order = self._batches.order(self.epoch)
        given = self.given_labels.gather(1, order)
        logits = []
        for place, images in self._batches.epoch(self.epoch, order):
            logits.append(self.network.backward(images, given[:, place]))
            self.optimizer.step()
        epoch_logits = torch.cat(logits, dim=1)
        rows = _losses_and_errors(epoch_logits, given, self._clean_labels[order])
        self.epoch += 1
        if self.epoch % self.settings.evaluate_every == 0 or self.epoch == self.settings.epochs:
            test_logits = self._logits(self.dataset.test_images)
            rows += _losses_and_errors(test_logits, self._test_labels.expand(len(self.models), -1))
        self.history[: len(rows), self.epoch - 1] = torch.stack(rows).to(self.history.dtype)

    def state(self) -> State:
        """Everything that the next epochs depend on, as tensors by name."""
        state = {f"parameters/{name}": tensor for name, tensor in self.network.parameters.items()}
        state |= {f"buffers/{name}": tensor for name, tensor in self.network.buffers.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer/{index}/{name}": moment for name, moment in moments.items() if moment is not None}
        state |= {"history": self.history, "epoch": torch.tensor(self.epoch)}
        return {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}

    def restore(self, state: State) -> None:
        """Continue from what `state()` gave."""
        moments: dict[int, State] = {}
        for key, tensor in state.items():
            kind, _, name = key.partition("/")
            if kind in ("parameters", "buffers"):
                getattr(self.network, kind)[name].copy_(tensor)
            elif kind == "optimizer":
                index, _, moment = name.partition("/")
                moments.setdefault(int(index), {})[moment] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.history.copy_(state["history"])
        self.epoch = int(state["epoch"])

    def trained(self) -> list[TrainedModel]:
        """The members as they are now."""
        predictions = {
            split: self._logits(self.dataset.split(split)[0]).argmax(-1).cpu() for split in ("train", "test")
        }
        history = self.history.cpu()
        return [
            TrainedModel(
                config=model,
                weights={name: tensor.cpu() for name, tensor in member_state(self.network, member).items()},
                history={name: history[row, :, member] for row, name in enumerate(HISTORY)},
                given_labels=self.given_labels[member].cpu(),
                predictions={split: classes[member] for split, classes in predictions.items()},
            )
            for member, model in enumerate(self.models)
        ]

    def _logits(self, images: Tensor) -> Tensor:
        """Logits `[members, n, classes]` of plain images."""
        batches = images.split(EVALUATION_BATCH)
        normalised = (self.dataset.normalised(batch.to(self.device), self._dtype) for batch in batches)
        return torch.cat([self.network.predict(batch) for batch in normalised], dim=1)


def train_cohort(
    models: Sequence[ModelConfig],
    dataset: Dataset,
    device: torch.device,
    *,
    checkpoints: Checkpoints | None = None,
    checkpoint_seconds: float = 60.0,
    on_epoch: Callable[[CohortTraining], None] = lambda training: None,
) -> list[TrainedModel]:
    """Train models of one shape side by side, from `checkpoints` if there is one, and return all of them."""
    training = CohortTraining(models, dataset, device)
    saved = checkpoints.load() if checkpoints else None
    if saved is not None:
        training.restore({name: tensor.to(device) for name, tensor in saved.items()})
    last_save = time.monotonic()
    while training.epoch < training.settings.epochs:
        training.run_epoch()
        if checkpoints and time.monotonic() - last_save >= checkpoint_seconds:
            checkpoints.save(training.state())
            last_save = time.monotonic()
        on_epoch(training)
    return training.trained()


def _optimizer(parameters: list[Tensor], settings: TrainingConfig) -> torch.optim.Optimizer:
    """Elementwise optimizers act on stacked parameters as on each member's own."""
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, **common)  # type: ignore[arg-type]
    return torch.optim.SGD(parameters, momentum=settings.momentum, **common)  # type: ignore[arg-type]


def _losses_and_errors(logits: Tensor, *labellings: Tensor) -> list[Tensor]:
    """Mean cross-entropy and share of wrong classes `[members]`, for each labelling in turn.

    Logits `[members, n, classes]`, labels `[members, n]`. The classes stand second for the softmax, which CPUs then
    compute several images at a time.
    """
    log_probabilities = F.log_softmax(logits.float().transpose(1, 2).contiguous(), dim=1)
    predicted = logits.max(dim=-1).indices
    metrics = []
    for labels in labellings:
        metrics.append(-log_probabilities.gather(1, labels[:, None]).mean(dim=(1, 2)))
        metrics.append((predicted != labels).float().mean(dim=1))
    return metrics

"""Training of a cohort: a plain function of configurations and images, without Ray and without files.

Every epoch's draws are addressed by seed and epoch (`dbviz_ray.config.seeds`), so the state between two epochs is just
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
from torch import Tensor, nn

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ModelConfig, ResourcesConfig
from dbviz_ray.datasets import Dataset, given_labels
from dbviz_ray.training.allocations import within_memory
from dbviz_ray.training.batches import Batches
from dbviz_ray.training.checkpoints import BUFFERS, EPOCH, OPTIMIZER, PARAMETERS, STACK
from dbviz_ray.training.checkpoints import HISTORY as HISTORY_STATE
from dbviz_ray.training.execution import execution_for
from dbviz_ray.training.gradients import Batch, State, pixel_limits
from dbviz_ray.training.losses import losses_and_errors
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.optimizers import CohortOptimizer, schedule_factor
from dbviz_ray.training.sharpness import BATCH as SHARPNESS_BATCH
from dbviz_ray.training.sharpness import IMAGES as SHARPNESS_IMAGES
from dbviz_ray.training.sharpness import sharpness
from dbviz_ray.training.stack_size import fastest_stack

HISTORY = ("train_loss", "train_error", "train_loss_clean", "train_error_clean", "test_loss", "test_error")
"""Columns of a model's history. The train columns are running values over the epoch's own batches (augmented, in
training mode, while the weights move), against the given, possibly noisy, labels and against the clean ones. The
test columns are exact, and NaN in epochs without an evaluation."""

EVALUATION_BATCH = 1000
DEFAULT_RESOURCES = ResourcesConfig()


class Checkpoints(Protocol):
    """Where a cohort's state is kept, should the training be interrupted."""

    def load(self) -> State | None:
        """The last state saved, or None."""

    def save(self, state: State) -> None:
        """Replace the last state by this one, wholly or not at all."""


@dataclass(frozen=True)
class TrainedModel:
    """What training leaves of one model at the end of an epoch."""

    config: ModelConfig
    epoch: int
    """Epochs done."""
    weights: State
    history: dict[str, Tensor]
    """One tensor `[epochs]` a column of `HISTORY`."""
    given_labels: Tensor
    """Training labels as the model saw them, int64 `[n]`."""
    predictions: dict[str, Tensor]
    """Predicted classes int64 `[n]` of these weights on the plain images of "train" and "test"."""
    sharpness: float
    """Of the training loss at the last weights (see `dbviz_ray.training.losses`); NaN at earlier epochs."""
    stack: int
    """Members that were computed as one network."""

    @property
    def diverged_epoch(self) -> int | None:
        """The first epoch whose training loss was not a finite number, or whose weights' test loss is not; or None."""
        for epoch in range(self.epoch):
            finite = math.isfinite(self.history["train_loss"][epoch])
            if not finite or (epoch + 1 == self.config.training.epochs and not self._ends_finite):
                return epoch + 1
        return None

    @property
    def _ends_finite(self) -> bool:
        return math.isfinite(self.history["test_loss"][-1])


class CohortTraining:
    """A cohort between two epochs.

    Args:
        models: Members; they may differ in seeds, label noise, learning rate and teacher only.
        dataset: What they are trained on.
        device: Where.
        resources: How steps are computed (`stack`, `execution`).
        teachers: One trained network for each member, if they are distilled.
    """

    def __init__(
        self,
        models: Sequence[ModelConfig],
        dataset: Dataset,
        device: torch.device,
        resources: ResourcesConfig = DEFAULT_RESOURCES,
        teachers: Sequence[nn.Module] = (),
    ) -> None:
        shared = models[0]
        if any(model.shape_key != shared.shape_key for model in models):
            raise ValueError("the models of a cohort may differ in seeds, label noise, learning rate and teacher only")
        self.models = models
        self.dataset = dataset
        self.device = device
        self.settings = shared.training
        self._dtype = torch.float64 if self.settings.precision == "float64" else torch.float32
        shape, classes = dataset.image_shape, len(dataset.class_names)
        networks = [
            initialised_network(m.architecture, m.width, shape, classes, m.seeds.init, m.options).to(
                device, self._dtype
            )
            for m in models
        ]
        self.network = CohortNetwork(
            networks,
            self.settings,
            pixel_limits(dataset, device, self._dtype),
            [teacher.to(device, self._dtype) for teacher in teachers],
            execution_for(resources.execution, device),
        )
        self.epoch = 0
        self.history = torch.full((len(HISTORY), self.settings.epochs, len(models)), math.nan, device=device)
        self.given_labels = torch.stack(
            [given_labels(dataset, m.dataset.noise_kind, m.label_noise, m.seeds.label_noise) for m in models]
        ).to(device)
        self._clean_labels = dataset.train_labels.to(device)
        self._test_labels = dataset.test_labels.to(device)
        self._batches = Batches(models, dataset, device, self._dtype, self.network.mask_shapes)
        rates = [model.training.learning_rate for model in models]
        self.optimizer = CohortOptimizer(self.network.parameters, self.settings, rates)
        self._evaluation_batch = EVALUATION_BATCH
        self._set_stack(min(resources.stack, len(models)) if resources.stack else self._fastest_stack())

    def _set_stack(self, stack: int) -> None:
        """Compute `stack` members at a time."""
        self.network.restack(stack)
        self.network.forget_other_stacks()

    def _fastest_stack(self) -> int:
        if len(self.models) == 1:
            return 1
        return fastest_stack(self.network, next(self._batches.epoch(0, self._batches.order(0), self.given_labels)))

    def run_epoch(self) -> None:
        """One pass over the training images, and a test evaluation where one is due."""
        order = self._batches.order(self.epoch)
        given = self.given_labels.gather(1, order)
        steps = self._batches.steps_per_epoch
        batches = enumerate(self._batches.epoch(self.epoch, order, given), start=self.epoch * steps)
        epoch_logits = torch.cat(
            [self._step(batch, schedule_factor(self.settings, step, steps)) for step, batch in batches], dim=1
        )
        rows = losses_and_errors(epoch_logits, given, self._clean_labels[order])
        self.epoch += 1
        if self.epoch % self.settings.evaluate_every == 0 or self.epoch == self.settings.epochs:
            test_logits = self._logits(self.dataset.test_images)
            rows += losses_and_errors(test_logits, self._test_labels.expand(len(self.models), -1))
        self.history[: len(rows), self.epoch - 1] = torch.stack(rows).to(self.history.dtype)

    def _step(self, batch: Batch, factor: float) -> Tensor:
        """One step at `factor` times each member's learning rate; logits `[members, n, classes]` from before it."""
        self._prepare(batch)
        gradients, logits = self.network.backward(batch)
        self.optimizer.step(gradients, factor)
        return logits

    def _prepare(self, batch: Batch) -> None:
        """Let the network be ready for batches like this one, with half the stack as long as it does not fit."""

        def attempt(stack: int) -> None:
            if stack != self.network.stack:
                self._set_stack(stack)
            self.network.prepare(batch)

        within_memory(attempt, self.network.stack)

    def state(self) -> State:
        """Everything that the next epochs depend on, as tensors by name (see `dbviz_ray.training.checkpoints`)."""
        state = {f"{PARAMETERS}/{name}": tensor for name, tensor in self.network.parameters.items()}
        state |= {f"{BUFFERS}/{name}": tensor for name, tensor in self.network.buffers.items()}
        state |= {f"{OPTIMIZER}/{name}": tensor for name, tensor in self.optimizer.state().items()}
        state |= {HISTORY_STATE: self.history, EPOCH: torch.tensor(self.epoch)}
        state |= {STACK: torch.tensor(self.network.stack)}  # another stack rounds differently
        return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}

    def restore(self, state: State) -> None:
        """Continue from what `state()` gave, on whichever device it lies."""
        self._set_stack(int(state[STACK]))
        moments = {}
        for key, tensor in state.items():
            kind, _, name = key.partition("/")
            if kind in (PARAMETERS, BUFFERS):
                getattr(self.network, kind)[name].copy_(tensor)
            elif kind == OPTIMIZER:
                moments[name] = tensor
        self.optimizer.restore(moments)
        self.history.copy_(state[HISTORY_STATE])
        self.epoch = int(state[EPOCH])

    def trained(self) -> list[TrainedModel]:
        """The members as they are now."""
        predictions = {
            split: self._logits(self.dataset.split(split)[0]).argmax(-1).cpu() for split in ("train", "test")
        }
        history = self.history.clone().cpu()  # the training goes on writing to its own
        last = self.epoch == self.settings.epochs
        sharp = self._sharpness().tolist() if last else [math.nan] * len(self.models)
        return [
            TrainedModel(
                config=model,
                epoch=self.epoch,
                weights={name: tensor.cpu() for name, tensor in self.network.member_state(member).items()},
                history={name: history[row, :, member] for row, name in enumerate(HISTORY)},
                given_labels=self.given_labels[member].cpu(),
                predictions={split: classes[member] for split, classes in predictions.items()},
                sharpness=sharp[member],
                stack=self.network.stack,
            )
            for member, model in enumerate(self.models)
        ]

    def _sharpness(self) -> Tensor:
        total = len(self.dataset.train_images)
        spread = torch.linspace(0, total - 1, min(total, SHARPNESS_IMAGES)).long()  # classes may lie one after another
        images = self.dataset.normalised(self.dataset.train_images[spread].to(self.device), self._dtype)
        labels = self.given_labels[:, spread.to(self.device)]
        return within_memory(lambda batch: sharpness(self.network, images, labels, batch), SHARPNESS_BATCH)

    def _logits(self, images: Tensor) -> Tensor:
        """Logits `[members, n, classes]` of plain images."""

        def attempt(batch: int) -> Tensor:
            self._evaluation_batch = batch  # what did not fit once is not tried again
            normalised = (self.dataset.normalised(some.to(self.device), self._dtype) for some in images.split(batch))
            return torch.cat([self.network.predict(some) for some in normalised], dim=1)

        return within_memory(attempt, self._evaluation_batch)


def train_cohort(
    models: Sequence[ModelConfig],
    dataset: Dataset,
    device: torch.device,
    *,
    resources: ResourcesConfig = DEFAULT_RESOURCES,
    teachers: Sequence[nn.Module] = (),
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[CohortTraining], None] = lambda training: None,
    on_snapshot: Callable[[list[TrainedModel]], None] = lambda snapshots: None,
) -> list[TrainedModel]:
    """Train models of one shape side by side, from `checkpoints` if there is one, and return all of them.

    `on_snapshot` gets the members at every epoch of `TrainingConfig.snapshots`, before a checkpoint says that the
    epoch is done. Further arguments as for `CohortTraining`.

    What does not fit into the device's memory is computed for fewer members or fewer images at a time; raises
    torch.OutOfMemoryError where that does not help. The last checkpoint is then that of a whole epoch, as ever.
    """
    training = _begun(models, dataset, device, resources, teachers, checkpoints.load() if checkpoints else None)
    last_save = time.monotonic()
    while training.epoch < training.settings.epochs:
        training.run_epoch()
        if training.epoch in training.settings.snapshots:
            on_snapshot(training.trained())
        # The last state too: should writing the models be interrupted, they are written again as they are.
        done = training.epoch == training.settings.epochs
        if checkpoints and (done or time.monotonic() - last_save >= resources.checkpoint_seconds):
            checkpoints.save(training.state())
            last_save = time.monotonic()
        on_epoch(training)
    return training.trained()


def _begun(
    models: Sequence[ModelConfig],
    dataset: Dataset,
    device: torch.device,
    resources: ResourcesConfig,
    teachers: Sequence[nn.Module],
    saved: State | None,
) -> CohortTraining:
    """A training that continues from `saved`, if there is one; nothing refers to that afterwards."""
    if saved is None:
        return CohortTraining(models, dataset, device, resources, teachers)
    same_stack = resources.model_copy(update={"stack": int(saved[STACK])})
    training = CohortTraining(models, dataset, device, same_stack, teachers)
    training.restore(saved)
    return training

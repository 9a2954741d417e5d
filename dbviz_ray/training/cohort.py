"""Training of a cohort, without Ray. Each epoch draws from streams of its own (`dbviz_ray.config.seeds`), so a resumed
training equals an uninterrupted one bit by bit. An epoch never waits for the device.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from dbviz_ray.architectures import in_precision, initialised_network
from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.config import ModelConfig, ResourcesConfig
from dbviz_ray.datasets import Dataset, given_labels
from dbviz_ray.errors import one_line
from dbviz_ray.training import sharpness
from dbviz_ray.training.allocations import lacks_memory, memory_errors, within_memory
from dbviz_ray.training.batches import Batches
from dbviz_ray.training.checkpoints import EPOCH, HISTORIES, MANNER, STACK, CohortCheckpoints
from dbviz_ray.training.execution import execution_for
from dbviz_ray.training.gradients import State, losses_and_errors, pixel_limits
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.optimizers import CohortOptimizer, schedule_factor
from dbviz_ray.training.ordinary import ORDINARY, OrdinaryNetwork
from dbviz_ray.training.stack_size import choose
from dbviz_ray.training.states import Manner, kept
from dbviz_ray.training.verification import StepsDifferError, attributes, check_unchanged, norm

HISTORY = ("train_loss", "train_error", "train_loss_clean", "train_error_clean", "test_loss", "test_error")
"""Columns of a model's history. The train columns are means over the epoch's own batches (augmented, in training mode,
while the weights move), for the given, possibly noisy labels and for the clean ones. The test columns are exact; they
are NaN in epochs without an evaluation."""

EVALUATION_BATCH = 1000
RELOADED_IMAGES, RELOADED_DIFFERENCE = 64, 0.01
"""Test images on which a reloaded network is compared, and the largest relative difference of logits: TF32 rounds."""
DEFAULT_RESOURCES = ResourcesConfig()


@dataclass(frozen=True)
class TrainedModel:
    """One model at the end of an epoch."""

    config: ModelConfig
    epoch: int
    """Number of finished epochs."""
    weights: State
    history: dict[str, Tensor]
    """A tensor `[epochs]` for each column of `HISTORY`."""
    given_labels: Tensor
    """The training labels that the model saw, int64 `[n]`."""
    predictions: dict[str, Tensor]
    """Predicted classes int64 `[n]` of these weights on the plain images of "train" and "test"."""
    sharpness: float
    """Of the training loss at the last weights (see `dbviz_ray.training.sharpness`); NaN at earlier epochs."""
    stack: int
    """Number of members computed as one network."""

    @property
    def diverged_epoch(self) -> int | None:
        """The first epoch whose training loss is not finite; the last one if its test loss is not; else None."""
        known = self.history["train_loss"][: self.epoch]
        if self.config.training.command is not None:  # which tells only of its end
            known = known[-1:]
        finite = known.isfinite().tolist()
        if finite and self.epoch == self.config.training.epochs:
            finite[-1] = finite[-1] and math.isfinite(self.history["test_loss"][-1])
        return finite.index(False) + 1 if False in finite else None


class CohortTraining:
    """A cohort between two epochs.

    Its members may differ only in seeds, label noise, learning rate and teacher. Of `resources`, `stack` and
    `execution` matter here; what is measured for them is remembered in the folder `choices`. For distillation,
    `teachers` holds one trained network for each member. StepsDifferError if the networks cannot be computed as
    `resources.stack` asks; ValueError if networks of their builder, `another` of which may be given, share a parameter.
    """

    def __init__(
        self,
        models: Sequence[ModelConfig],
        dataset: Dataset,
        device: torch.device,
        resources: ResourcesConfig = DEFAULT_RESOURCES,
        teachers: Sequence[nn.Module] = (),
        another: nn.Module | None = None,
        choices: Path | None = None,
    ) -> None:
        shared = models[0]
        if any(model.shape_key != shared.shape_key for model in models):
            raise ValueError("the models of a cohort may differ in seeds, label noise, learning rate and teacher only")
        self.models = models
        self.dataset = dataset
        self.device = device
        self.settings = shared.training
        self._dtype = torch.float64 if self.settings.precision == "float64" else torch.float32
        # A partial function, since a method would make a cycle, which keeps a training's memory.
        self._fresh = partial(_fresh_network, models, dataset, device, self._dtype)
        networks = [self._fresh(member) for member in range(len(models))]
        every = networks if another is None else [*networks, another]
        parameters = [id(parameter) for network in every for parameter in network.parameters()]
        if len(set(parameters)) < len(parameters):
            raise ValueError("its builder returns networks that share a parameter; build it anew, or copy.deepcopy it")
        limits = pixel_limits(dataset, device, self._dtype)
        of_teachers = [in_precision(teacher, self._dtype).to(device) for teacher in teachers]
        self.network: CohortNetwork | OrdinaryNetwork
        if resources.stack == ORDINARY:
            self.network = OrdinaryNetwork(networks, self.settings, limits, of_teachers)
        else:
            execution = execution_for(resources.execution, device)
            self.network = CohortNetwork(networks, self.settings, limits, self._fresh, of_teachers, execution)
        del networks  # their stacked state takes as much memory
        self.epoch = 0
        self.remark = ""
        """What the user should know about the way in which the networks are trained."""
        self.history = torch.full((len(HISTORY), self.settings.epochs, len(models)), math.nan, device=device)
        self.given_labels = torch.stack(
            [given_labels(dataset, m.dataset.noise_kind, m.label_noise, m.seeds.label_noise) for m in models]
        ).to(device)
        self._clean_labels = dataset.train_labels.to(device)
        self._test_images = dataset.test_images.to(device)
        self._test_labels = dataset.test_labels.to(device)
        masks = self.network.mask_shapes if isinstance(self.network, CohortNetwork) else None
        self._batches = Batches(models, dataset, device, self._dtype, masks)
        rates = [model.training.learning_rate for model in models]
        apart = isinstance(self.network, OrdinaryNetwork)
        self.optimizer = CohortOptimizer(self.network.parameters, self.settings, rates, apart=apart)
        self._evaluation_batch = EVALUATION_BATCH
        if isinstance(self.network, CohortNetwork) and resources.stack is None:
            first = self._batches.epoch(0, self._batches.draws(0), self.given_labels)
            steps = self.settings.epochs * self._batches.steps_per_epoch
            key = f"{shared.shape_key} {len(models)} {dataset.image_shape} {resources.execution}"
            choose(self.network, first, steps, may_compile=resources.execution == "auto", key=key, folder=choices)
        elif isinstance(self.network, CohortNetwork):
            self.network.restack(min(resources.stack or 1, len(models)))

    @torch.no_grad()
    def check_reloading(self, members: Iterable[int]) -> None:
        """ValueError unless networks that are built anew, with the state of these members, predict what they do.

        They must do so in smaller batches, too.
        """
        images = self.dataset.normalised(self.dataset.test_images[:RELOADED_IMAGES].to(self.device), self._dtype)
        with kept(self.network.buffers):
            predicted = self._logits(self.dataset.test_images[:RELOADED_IMAGES])
        allowed = [RELOADED_DIFFERENCE * norm(own) for own in predicted]
        for member in members:
            again = self._fresh(member)
            again.load_state_dict(self.network.member_state(member))
            again.eval()
            whole = logits_of(again(images.clone()))
            half = logits_of(again(images[: (len(images) + 1) // 2].clone()))
            if norm(whole - predicted[member]) > allowed[member]:
                raise ValueError(
                    "its predictions need more than its state_dict: a network that is built anew and loads it predicts "
                    "something else; register what is missing as buffers, and draw no random numbers in evaluation mode"
                )
            if norm(half - whole[: len(half)]) > allowed[member]:
                reason = "its predictions depend on the other images of a batch, or change from call to call"
                raise ValueError(f"{reason}; in evaluation mode a network must be a function of the image")

    def run_epoch(self) -> None:
        """One pass over the training images, and a test evaluation if it is due."""
        network, own = self.network, self._tensors()
        if not isinstance(network, CohortNetwork) or not network.packs:
            self._run_epoch()
            return
        before = {name: tensor.clone() for name, tensor in own.items() if name != HISTORIES}
        self._run_epoch()
        if torch.stack([(was.isfinite() & ~own[name].isfinite()).any() for name, was in before.items()]).any():
            network.unpack()
            self.epoch -= 1
            for name, was in before.items():
                own[name].copy_(was)
            self._run_epoch()

    def _run_epoch(self) -> None:
        draws = self._batches.draws(self.epoch)
        given = self.given_labels.gather(1, draws.order)
        steps = self._batches.steps_per_epoch
        epoch_logits = []
        for step, batch in enumerate(self._batches.epoch(self.epoch, draws, given), start=self.epoch * steps):
            gradients, logits = self.network.backward(batch)
            self.optimizer.step(gradients, schedule_factor(self.settings, step, steps), self.network.idle)
            epoch_logits.append(logits)
        rows = losses_and_errors(torch.cat(epoch_logits, dim=1), given, self._clean_labels[draws.order])
        self.epoch += 1
        if self.epoch % self.settings.evaluate_every == 0 or self.epoch == self.settings.epochs:
            test_logits = self._logits(self._test_images)
            rows += losses_and_errors(test_logits, self._test_labels.expand(len(self.models), -1))
        self.history[: len(rows), self.epoch - 1] = torch.stack(rows).to(self.history.dtype)

    def state(self) -> State:
        """All that the next epochs depend on, as tensors by name (see `dbviz_ray.training.checkpoints`)."""
        facts = {EPOCH: self.epoch} | asdict(self.network.manner)
        state = self._tensors() | {name: torch.tensor(number) for name, number in facts.items()}
        return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}

    def restore(self, state: State) -> None:
        """Continue from a result of `state()`, on any device. ValueError if it holds tensors of other names."""
        own = self._tensors()
        if state.keys() != own.keys() | {EPOCH, *MANNER}:
            raise ValueError("the state holds tensors of other names")
        network = self.network
        for name, tensor in own.items():
            tensor.copy_(state[name])
        if isinstance(network, CohortNetwork):
            stack, compiled, channels = (int(state[name]) for name in MANNER)
            network.adopt(Manner(stack, bool(compiled), channels))
            if not all(parameter.isfinite().all() for parameter in network.parameters.values()):
                network.unpack()  # as when that member diverged
        self.epoch = int(state[EPOCH])

    def _tensors(self) -> State:
        """The tensors that training changes, by their names in a checkpoint; no copies."""
        network, optimizer = self.network, self.optimizer
        kinds = {"parameters": network.parameters, "buffers": network.buffers, "optimizer": optimizer.state()}
        own = {f"{kind}/{name}": tensor for kind, tensors in kinds.items() for name, tensor in tensors.items()}
        return own | {HISTORIES: self.history}

    def trained(self) -> list[TrainedModel]:
        """The members in their present state."""
        last = self.epoch == self.settings.epochs
        images = {split: self.dataset.split(split)[0] for split in ("train", "test")}
        with kept(self.network.parameters | self.network.buffers):  # which even an evaluation may change
            predictions = {split: self._logits(some).argmax(-1).cpu() for split, some in images.items()}
            sharp = self._sharpness().tolist() if last else [math.nan] * len(self.models)
        history = self.history.clone().cpu()  # the training continues to write to its own
        return [
            TrainedModel(
                config=model,
                epoch=self.epoch,
                weights={name: tensor.cpu() for name, tensor in self.network.member_state(member).items()},
                history={name: history[row, :, member] for row, name in enumerate(HISTORY)},
                given_labels=self.given_labels[member].cpu(),
                predictions={split: classes[member] for split, classes in predictions.items()},
                sharpness=sharp[member],
                stack=self.network.manner.stack,
            )
            for member, model in enumerate(self.models)
        ]

    def _sharpness(self) -> Tensor:
        total = len(self.dataset.train_images)
        spread = torch.linspace(0, total - 1, min(total, sharpness.IMAGES)).long()  # images may be sorted by class
        images = self.dataset.normalised(self.dataset.train_images[spread].to(self.device), self._dtype)
        labels = self.given_labels[:, spread.to(self.device)]
        return within_memory(lambda batch: sharpness.sharpness(self.network, images, labels, batch), sharpness.BATCH)

    def _logits(self, images: Tensor) -> Tensor:
        """Logits `[members, n, classes]` of plain images."""

        def attempt(batch: int) -> Tensor:
            self._evaluation_batch = batch  # do not try a size again that did not fit
            normalised = (self.dataset.normalised(some.to(self.device), self._dtype) for some in images.split(batch))
            return torch.cat([self.network.predict(some) for some in normalised], dim=1)

        return within_memory(attempt, self._evaluation_batch)


def _fresh_network(
    models: Sequence[ModelConfig], dataset: Dataset, device: torch.device, dtype: torch.dtype, member: int
) -> nn.Module:
    model, shape, classes = models[member], dataset.image_shape, len(dataset.class_names)
    network = initialised_network(model.architecture, model.width, shape, classes, model.seeds.init, model.options)
    return in_precision(network, dtype).to(device)


def train_cohort(
    models: Sequence[ModelConfig],
    dataset: Dataset,
    device: torch.device,
    *,
    resources: ResourcesConfig = DEFAULT_RESOURCES,
    teachers: Sequence[nn.Module] = (),
    checkpoints: CohortCheckpoints | None = None,
    choices: Path | None = None,
    on_epoch: Callable[[CohortTraining], None] = lambda training: None,
    on_snapshot: Callable[[list[TrainedModel]], None] = lambda snapshots: None,
) -> list[TrainedModel]:
    """Train models of one shape side by side and return them; continue from the last checkpoint, if there is one.

    `on_snapshot` gets the members at every epoch of `TrainingConfig.snapshots`, before the checkpoint of that epoch.
    `CohortTraining` describes the other arguments.

    When memory runs out, fewer members or images are computed at a time; torch.OutOfMemoryError if that does not help.
    The last checkpoint is then still the state after a whole epoch.
    """

    @memory_errors()
    def trained(stack: int | None, remark: str) -> list[TrainedModel]:
        saved = checkpoints.load() if checkpoints and not remark else None
        own = resources.model_copy(update={"stack": int(saved[STACK]) if saved else stack})
        training = CohortTraining(models, dataset, device, own, teachers, watched, choices)
        training.remark = remark
        if saved:
            try:
                training.restore(saved)
            except ValueError:
                training.remark = "a checkpoint of another version is left out: its training starts again"
        del saved  # frees its memory
        try:
            training.check_reloading({0, len(models) - 1})  # before hours are spent
        except Exception as error:  # a user's own code may raise anything
            if training.epoch or training.network.manner.stack == ORDINARY or lacks_memory(error):
                raise
            raise StepsDifferError(f"as it was computed, {one_line(error)}") from error
        last_save = time.monotonic()
        while training.epoch < training.settings.epochs:
            training.run_epoch()
            check()
            if training.epoch in training.settings.snapshots:
                on_snapshot(training.trained())
            # The last state is saved too: if writing the models is interrupted, they can be written again.
            done = training.epoch == training.settings.epochs
            due = done or time.monotonic() - last_save >= resources.checkpoint_seconds
            if checkpoints and due and not training.network.changed():
                checkpoints.save(training.state())
                last_save = time.monotonic()
            on_epoch(training)
        training.check_reloading(range(len(training.models)))
        return training.trained()

    watched = _fresh_network(models, dataset, torch.device("cpu"), torch.float32, 0)
    check = partial(check_unchanged, watched, attributes(watched))
    stack, remark = resources.stack, ""
    while True:
        try:
            return trained(stack, remark)
        except StepsDifferError as found:
            # Alone, more networks can be captured and evaluated than stacked; all can be called as they are.
            stack = ORDINARY if stack == 1 or len(models) == 1 else 1
            manner = "trained as ordinary PyTorch modules, one by one" if stack == ORDINARY else "computed one by one"
            remark = f"{models[0].architecture} is {manner}: {found}"
        finally:
            check()

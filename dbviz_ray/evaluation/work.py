"""The tasks of evaluators: which ones a run directory lacks, and how each is done; and drawing the planes for them.

Only doing a task imports torch: a complete run is recognised without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dbviz_ray.config import ModelConfig, PlaneSetConfig, SweepConfig
from dbviz_ray.config.registry import ARCHITECTURES
from dbviz_ray.store import Store
from dbviz_ray.store.models import Outcome, WorkEnd

if TYPE_CHECKING:
    import torch

    from dbviz_ray.datasets import DatasetFacts
    from dbviz_ray.evaluation.label_maps import Classifier
    from dbviz_ray.evaluation.margins import MarginLines
    from dbviz_ray.planes import PlaneSet


What = str | None
"""What an evaluator does: label the plane set of this name or, if None, find margins."""


@dataclass(frozen=True)
class Task:
    """One evaluator's unit of work. One file marks it as complete."""

    what: What
    model: ModelConfig
    epoch: int
    """The epoch of the weights."""


def missing_tasks(sweep: SweepConfig, store: Store) -> list[Task]:
    """The tasks of `sweep` that are not done in `store`; one listing for each kind.

    If the planes are missing, their label maps count as missing too: the planes may be drawn differently.
    """
    complete: dict[What, set[tuple[str, int]]] = {
        name: store.labelled(name) if store.exists(store.planes_file(name)) else set() for name in sweep.planes
    }
    if sweep.margins is not None:
        complete[None] = store.with_margins()
    wanted = [(model, epoch) for model in sweep.models() for epoch in model.training.kept_epochs]
    return [
        Task(what, model, epoch)
        for what, done in complete.items()
        for model, epoch in wanted
        if (model.model_id, epoch) not in done
    ]


@dataclass(frozen=True)
class LabellingWork:
    """Label every grid point of a plane set, and one plane on a finer grid."""

    plane_set: str
    planes: PlaneSet
    config: PlaneSetConfig
    pictured: bool = True
    """Whether figures show the plane set."""

    @property
    def points(self) -> int:
        """Grid points, including about as many as a picture needs."""
        from dbviz_ray.evaluation.pictures import POINTS_A_SIDE, picture_resolution

        confidence = self.config.probabilities
        side = self.pictured * (picture_resolution(self.planes, confidence=confidence) or 0)
        return len(self.planes) * self.planes.resolution**2 + side * (side if confidence else POINTS_A_SIDE)

    def do(self, network: Classifier, device: torch.device, store: Store, model_id: str, epoch: int) -> None:
        """Label the planes by `network`, the model after `epoch`.

        Writes the probabilities if asked for, the picture if it is finer, and the label maps last.
        """
        from dbviz_ray.evaluation.label_maps import label_planes
        from dbviz_ray.evaluation.pictures import SHOWN_PLANE, picture_resolution, take_picture

        wanted, half = self.config.probabilities, self.config.precision == "bfloat16"
        labelled = label_planes(network, self.planes, device, probabilities=wanted, half=half)
        if labelled.probabilities is not None:
            store.write_probabilities(self.plane_set, model_id, epoch, labelled.probabilities.numpy())
        resolution = picture_resolution(self.planes, confidence=wanted)
        if self.pictured and resolution is not None:
            picture = take_picture(network, self.planes, SHOWN_PLANE, resolution, device, confidence=wanted)
            store.write_picture(self.plane_set, model_id, epoch, SHOWN_PLANE, picture)
        store.write_label_maps(self.plane_set, model_id, epoch, labelled.labels.numpy())


Work: TypeAlias = "LabellingWork | MarginLines"
"""A kind of task with its data; each evaluator gets it once."""


class TaskRunner:
    """Does tasks on `device`, one after another; it checks a model's weights before its first task."""

    def __init__(self, store: Store, data: DatasetFacts, directory: str, device: torch.device) -> None:
        self._store, self._data, self._directory, self._device = store, data, directory, device
        self._checked: set[tuple[str, int]] = set()

    def do(self, task: Task, work: Work) -> WorkEnd:
        """Do a task. Raises only errors that a new process may avoid."""
        import torch

        from dbviz_ray.datasets import load_dataset
        from dbviz_ray.evaluation.records import check_predictions, load_network

        try:
            facts, weights = self._data, (task.model.model_id, task.epoch)
            network = load_network(self._store, task.model, facts.image_shape, facts.classes, task.epoch)
            network = network.to(self._device)
            if task.model.architecture in ARCHITECTURES:  # other networks may need memory as they have made it
                network = network.to(memory_format=torch.channels_last)
            if weights not in self._checked:
                dataset = load_dataset(task.model.dataset, self._directory)
                check_predictions(self._store, task.model, network, dataset, task.epoch)
                self._checked.add(weights)
            work.do(network, self._device, self._store, *weights)
        except Exception as error:
            return WorkEnd.of(error)
        return WorkEnd(Outcome.DONE)


def draw_planes(
    sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig | None, device: torch.device | None = None
) -> None:
    """Draw and store a plane set; a model is attacked on `device`. UserError if it cannot be drawn."""
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.evaluation.records import load_network, save_planes
    from dbviz_ray.planes import draw_plane_set
    from dbviz_ray.planes.drawing import about_plane_set, representative_labels

    dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
    planes, network = sweep.planes[plane_set], None
    if attacked is not None:
        network = load_network(store, attacked, dataset.image_shape, len(dataset.class_names)).to(device)
        planes = planes.model_copy(update={"attacked": attacked.model_id})
    with about_plane_set(plane_set):
        drawn = draw_plane_set(planes, dataset, representative_labels(sweep, plane_set, dataset), network)
    save_planes(store, plane_set, drawn, dataset)

"""What evaluators are asked to do with trained models, and what of it a run directory lacks."""

from __future__ import annotations

from dataclasses import dataclass

from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.store import Store


@dataclass(frozen=True)
class LabelPlanes:
    """Label maps of a plane set, with class probabilities where it asks for them."""

    plane_set: str


@dataclass(frozen=True)
class FindMargins:
    """Margins of images."""


What = LabelPlanes | FindMargins


@dataclass(frozen=True)
class Task:
    """What is made at once, by one evaluator: a file that says that it is complete."""

    what: What
    model: ModelConfig
    epoch: int
    """Whose weights do it."""


def missing_tasks(sweep: SweepConfig, store: Store) -> list[Task]:
    """What `store` lacks of all that `sweep` asks of its models' kept epochs, file by file; a listing a kind.

    Label maps of planes that are not there any more count as missing: drawn again, they may be others.
    """
    complete: dict[What, set[tuple[str, int]]] = {
        LabelPlanes(name): store.labelled(name) if store.exists(store.planes_file(name)) else set()
        for name in sweep.planes
    }
    if sweep.margins is not None:
        complete[FindMargins()] = store.with_margins()
    wanted = [(model, epoch) for model in sweep.models() for epoch in model.training.kept_epochs]
    return [
        Task(what, model, epoch)
        for what, done in complete.items()
        for model, epoch in wanted
        if (model.model_id, epoch) not in done
    ]

"""The tasks of evaluators, and those still missing from a run directory. Imports no torch."""

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

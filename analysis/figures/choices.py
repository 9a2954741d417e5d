"""The models of a run as people name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.errors import DamagedFileError, UserError

MOST_NAMED = 3
TRAINED = "a model that is trained and labelled"


@dataclass(frozen=True)
class ChosenModel:
    """A model as it was after one of its kept epochs."""

    config: ModelConfig
    epoch: int

    @property
    def model_id(self) -> str:
        """Of the model, at whatever epoch."""
        return self.config.model_id


def choose_model(sweep: SweepConfig, name: str, epoch: int | None = None) -> ChosenModel:
    """The model that `name` means: its model_id, or a part of it that no other model of the sweep has.

    `@32` behind it, or `epoch`, is one of its kept epochs; without it the last one. UserError if it means none, or
    several.
    """
    part, _, given = name.partition("@")
    models = sweep.models()
    found = [model for model in models if model.model_id == part] or [m for m in models if part in m.model_id]
    if len(found) != 1:
        shown = ", ".join(model.model_id for model in (found or models)[:MOST_NAMED])
        more = ", ..." if len(found or models) > MOST_NAMED else ""
        meant = f"is part of the model_id of {len(found)} models" if found else "is part of no model_id"
        raise UserError(f"model: {part!r} {meant}; allowed: one model_id, or a part of one alone: {shown}{more}")
    kept = found[0].training.kept_epochs
    wanted = given or (kept[-1] if epoch is None else epoch)
    if str(wanted) not in map(str, kept):
        raise UserError(
            f"model: {found[0].model_id} was not kept after epoch {wanted}; allowed: {', '.join(map(str, kept))}"
        )
    return ChosenModel(found[0], int(wanted))


def short_names(models: Sequence[ChosenModel]) -> tuple[list[str], str]:
    """A name for each model, made of what tells it from the others, and what all of them have in common."""
    parts = list(zip(*(model.config.name_parts for model in models), strict=True))
    common = [part[0] for part in parts if len(set(part)) == 1]
    differing = [part for part in parts if len(set(part)) > 1]
    if len({model.epoch for model in models}) > 1:
        differing.append(tuple(f"epoch {model.epoch}" for model in models))
    names = [" ".join(of_model) for of_model in zip(*differing, strict=True)]
    if len(set(names)) < len(models):  # the models differ in other fields: only their ids tell them apart
        names = [model.model_id for model in models]
    return names, " ".join(common)


def choose_plane_set(sweep: SweepConfig, name: str | None = None) -> str:
    """The plane set that is called `name`, the sweep's first one by default. UserError if there is none."""
    if name is not None and name not in sweep.planes:
        raise UserError(f"plane set: {name!r} is not one of this run; allowed: {', '.join(sweep.planes)}")
    return name or next(iter(sweep.planes))


def check_plane(sweep: SweepConfig, plane_set: str, plane: int) -> None:
    """UserError unless `plane` is the number of a plane of the set."""
    count = sweep.planes[plane_set].count
    if not 0 <= plane < count:
        raise UserError(f"plane: {plane} is not allowed; allowed: from 0 to {count - 1}")


@contextmanager
def reading(what: str, allowed: str) -> Iterator[None]:
    """UserError where, within the block, a file is absent, which is `what`, or damaged."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{what}: is not there; allowed: {allowed}") from None
    except DamagedFileError as error:
        raise UserError(f"{error}; the same command of the sweep makes it again") from None

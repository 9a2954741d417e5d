"""Finds the models and planes of a run that a user names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.formatting import listed

MOST_NAMED = 3
TRAINED = "for models that are trained and labelled"


@dataclass(frozen=True)
class ChosenModel:
    """A model after one of its kept epochs."""

    config: ModelConfig
    epoch: int

    @property
    def model_id(self) -> str:
        """Of the model, at whatever epoch."""
        return self.config.model_id


def choose_model(sweep: SweepConfig, name: str, epoch: int | None = None) -> ChosenModel:
    """The model that `name` means: its model_id, or a part of it that no other model of the sweep has.

    `@32` after the name, or `epoch`, is one of its kept epochs; the last one by default. UserError if the name means no
    model or several.
    """
    part, _, given = name.partition("@")
    models = sweep.models()
    found = [model for model in models if model.model_id == part] or [m for m in models if part in m.model_id]
    if len(found) != 1:
        reason = f"is part of the model_id of {len(found)} models" if found else "is part of no model_id"
        some = listed([model.model_id for model in found or models], MOST_NAMED)
        raise UserError("model", part, reason=reason, allowed=f"one model_id, or a part that only it has: {some}")
    kept = found[0].training.kept_epochs
    wanted = given or str(kept[-1] if epoch is None else epoch)
    if wanted not in map(str, kept):
        reason = f"was not kept after epoch {wanted}"
        raise UserError("model", found[0].model_id, reason=reason, allowed=", ".join(map(str, kept)))
    return ChosenModel(found[0], int(wanted))


def short_names(models: Sequence[ChosenModel]) -> tuple[list[str], str]:
    """A short name for each model, and what they have in common, from `ModelConfig.name_parts` and epochs.

    Models with equal names are called by their model_ids.
    """
    parts = [model.config.name_parts for model in models]
    common = [values[0] for values in zip(*parts, strict=True) if len(set(values)) == 1]
    names = [[part for part in own if part not in common] for own in parts]
    if len({model.epoch for model in models}) > 1:
        names = [[*own, f"epoch {model.epoch}"] for own, model in zip(names, models, strict=True)]
    texts = [" ".join(own) for own in names]
    if len(set(texts)) < len(texts):
        texts = [f"{model.model_id} epoch {model.epoch}" for model in models]
    return texts, " ".join(common)


def choose_plane_set(sweep: SweepConfig, name: str | None = None) -> str:
    """The plane set called `name`, by default the sweep's first one. UserError if there is none."""
    if name is not None and name not in sweep.planes:
        raise UserError("plane set", name, reason="is not one of this run", allowed=", ".join(sweep.planes))
    return name or next(iter(sweep.planes))


def check_plane(count: int, plane: int) -> None:
    """UserError unless `plane` is the number of one of `count` planes."""
    if not 0 <= plane < count:
        raise UserError("plane", plane, allowed=f"from 0 to {count - 1}")


@contextmanager
def files_of_run(what: str, allowed: str) -> Iterator[None]:
    """UserError if, within the block, a file is damaged or absent; `what` it is, and where it is `allowed`."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(what, reason="does not exist", allowed=allowed) from None
    except DamagedFileError as error:
        raise UserError(
            what, reason=str(error), allowed="a whole file; the command that made it makes it again"
        ) from None

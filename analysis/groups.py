"""Groups: models that differ in their seeds alone, at one of their kept epochs; and how groups are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dbviz_ray.config import ModelConfig, SweepConfig

NETWORK = ["architecture", "options", "width"]
GROUP = [*NETWORK, "label_noise", "recipe", "learning_rate", "epoch"]
NAMING = [*NETWORK, "recipe", "learning_rate"]


def group_of(model: ModelConfig, epoch: int) -> dict[str, Any]:
    """The group of a model at one of its kept epochs, as values of the columns `GROUP`."""
    return {
        "architecture": model.architecture,
        "options": options_text(model.options),
        "width": model.width,
        "label_noise": model.label_noise,
        "recipe": model.recipe,
        "learning_rate": model.training.learning_rate,
        "epoch": epoch,
    }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, by column name."""
    return [{str(column): value for column, value in row.items()} for row in table.to_dict(orient="records")]


def options_text(options: dict[str, Any]) -> str:
    """An architecture's options in words: `heads=4 patch_size=2`; nothing if there are none."""
    return " ".join(f"{name}={value}" for name, value in sorted(options.items()))


def groups_of(sweep: SweepConfig) -> pd.DataFrame:
    """Every group that a sweep asks for, at every kept epoch: the columns `GROUP`."""
    kept = [group_of(model, epoch) for model in sweep.models() for epoch in model.training.kept_epochs]
    return pd.DataFrame(kept, columns=GROUP).drop_duplicates(ignore_index=True)


def at_last_epoch(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every group's last epoch."""
    keys = [column for column in ("plane_set", *GROUP) if column in table and column != "epoch"]
    return table[table["epoch"] == table.groupby(keys)["epoch"].transform("max")].reset_index(drop=True)


def names_of(table: pd.DataFrame, columns: Sequence[str] = NAMING) -> list[str]:
    """One name a row, of what tells the rows apart: the first column, and a later one where the earlier ones leave
    several values of it."""
    if table.empty:
        return []
    texts = {
        "width": "width {}".format,
        "learning_rate": "learning rate {:g}".format,
        "label_noise": "label noise {:g}".format,
        "epoch": "epoch {}".format,
    }
    parts: list[list[str]] = [[] for _ in range(len(table))]
    for index, column in enumerate(columns):
        earlier = list(columns[:index])
        shown = table.groupby(earlier)[column].transform("nunique") > 1 if earlier else [True] * len(table)
        for part, show, value in zip(parts, shown, table[column], strict=True):
            if show and value != "":
                part.append(texts.get(column, str)(value))
    return [", ".join(part) for part in parts]


def names_by_group(groups: pd.DataFrame, rows: pd.DataFrame, start: str = "", ending: str = "") -> list[str]:
    """The names of groups that `rows` tells of in columns `start` + name + `ending`, as among all of `groups`."""
    names = dict(zip(groups[NAMING].itertuples(index=False, name=None), names_of(groups), strict=True))
    told = rows[[f"{start}{column}{ending}" for column in NAMING]]
    return [names[key] for key in told.itertuples(index=False, name=None)]

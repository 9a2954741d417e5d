"""The gate for a release: may the new model replace the old one, by limits and by the noise floor of a recipe?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbviz_ray.config.sweep_files import yaml_mapping
from dbviz_ray.errors import StageFailedError, UserError
from dbviz_ray.scripts.recipe import AGAIN
from dbviz_ray.scripts.running import OUTCOME
from dbviz_ray.store import Store
from dbviz_ray.terminal.arguments import share

from ..report.folders import check_free, json_of, made, written
from ..scores.agreement import agreement
from ..tracking.registry import VersionVerdict, record
from ..tracking.track import TrackingUnavailableError
from .command import columns_of
from .files import KINDS, LABELS
from .matching import Columns, read_predictions
from .verdict_files import Gate
from .verdicts import MEASURES, Changes, check, check_noise_floor

if TYPE_CHECKING:
    from dbviz_ray.predictions import Gating

RESULT, MARKDOWN, JUNIT = "verdict.json", "verdict.md", "verdict.xml"
KIND = "gate"
DIGEST = 36
"""Characters that MLflow takes of a digest."""


def gate(
    old: str,
    new: str,
    limits: Mapping[str, float],
    reruns: Sequence[str] = (),
    names: Sequence[str] = (),
    columns: Columns | None = None,
) -> Gate:
    """Whether a new model may replace an old one, by their predictions in two files.

    Args:
        old: The old model's predictions.
        new: The new model's, for the same items.
        limits: By the names of `MEASURES`, such as `{"max_churn": 0.05}`.
        reruns: Predictions of trainings of one recipe, files or folders, if its noise floor is a limit, too.
        names: Of the old and the new model; those of their files by default.
        columns: What to read of the files.

    Raises:
        UserError: if a file or a limit cannot be used; the message names it.
    """
    unknown = next((field for field in limits if field not in MEASURES), None)
    if unknown is not None:
        raise UserError("limits", unknown, reason="is unknown", allowed=", ".join(MEASURES))
    if not limits and not reruns:
        raise UserError("limits", reason="none is given", allowed=f"one of {', '.join(MEASURES)}, or reruns")
    if names and len(names) != 2:
        raise UserError("names", list(names), allowed="two, of the old and of the new model")
    files = [old, new, *_rerun_files(reruns)]
    called = [*names, *(f"rerun {number}" for number in range(len(files) - 2))] if names else ()
    predictions = read_predictions(files, called, columns)
    (before, after), truth = predictions.predicted[:2], predictions.truth
    changes = Changes(len(before), int((before != after).sum()))
    if truth is not None:
        wins, losses = (before != truth) & (after == truth), (before == truth) & (after != truth)
        changes = Changes(changes.items, changes.changed, int(wins.sum()), int(losses.sum()))
    for field in limits:
        if truth is None and MEASURES[field].needs_labels:
            raise UserError(field, reason="needs labels, and no file has any", allowed=f"a column {LABELS[0]}")
    checks = [check(field, limit, changes) for field, limit in limits.items()]
    if reruns:
        churn = 1 - agreement(predictions.predicted[2:, None])[0]
        checks.append(check_noise_floor(churn, MEASURES["max_churn"].interval(changes)))
    return Gate(predictions, changes, tuple(checks))


def decide(request: Gating, command: str) -> str:
    """Print the verdict, write its files, and return it. UserError about a field of `request` or a file."""
    store = Store(request.out)
    check_free(store, (RESULT, MARKDOWN, JUNIT), RESULT, KIND)
    if request.alias and not request.registered:
        raise UserError("alias", request.alias, reason="needs the version that it moves to", allowed="--registered")
    if len(request.files) != 2:
        raise UserError("files", len(request.files), reason="given", allowed="two: the old model's and the new one's")
    found = gate(*request.files, _limits(request), request.reruns, request.names, columns_of(request))
    result = {
        "kind": KIND,
        "verdict": found.verdict,
        "command": command,
        "checks": found.checks,
        "changes": found.changes,
        "sources": found.predictions.sources,
        "remarks": found.predictions.remarks,
        "provenance": made(),
    }
    files = {RESULT: json_of(result), MARKDOWN: found.markdown().encode(), JUNIT: found.junit()}
    written(store, files)
    print(found)
    print(f"\nin {request.out}: {', '.join(files)}", flush=True)
    if request.registered:
        print(_recorded(request.registered, request.alias, found))
    return found.verdict


def _recorded(address: str, alias: str | None, found: Gate) -> str:
    """Write the verdict to MLflow's registry. StageFailedError if MLflow cannot be used."""
    shares = {one.name.replace(" ", "_"): one.value.value for one in found.checks}
    digest = found.predictions.sources[1]["sha256"]
    try:
        return record(address, VersionVerdict(found.verdict, shares, digest[:DIGEST], found.markdown()), alias)
    except TrackingUnavailableError as error:
        raise StageFailedError(f"MLflow cannot be used; the same command writes the verdict ({error})") from None


def _limits(request: Gating) -> dict[str, float]:
    """The limits of a request by field, those of its file first."""
    there = yaml_mapping(Path(request.limits)) if request.limits else {}
    found = {str(field): share(str(value), f"{request.limits}, {field}") for field, value in there.items()}
    return found | {field: value for field in MEASURES if (value := getattr(request, field)) is not None}


def _rerun_files(named: Sequence[str]) -> list[str]:
    """The files of predictions that are named, and those in folders that are named, such as the one of `repeat`.

    Of such a folder, those of trainings that have ended well; UserError if these are of several recipes.
    """
    found: list[str] = []
    for name in named:
        folder = Path(name)
        trained = [file.parent for file in (*folder.glob(OUTCOME), *sorted(folder.glob(f"*/{OUTCOME}")))]
        if len({of.name.rpartition("seed=")[0] for of in trained}) > 1:
            raise UserError("reruns", name, reason="holds trainings of several recipes", allowed="the files of one")
        good = [of for of in trained if json.loads((of / OUTCOME).read_text())["code"] == 0 and AGAIN not in of.name]
        there = [file for of in good for file in (of / "out").glob("predictions.*")] if trained else folder.glob("*")
        inside = sorted(str(file) for file in there if file.name.endswith(KINDS))
        if folder.is_dir() and not inside:
            raise UserError("reruns", name, reason="holds no predictions", allowed=", ".join(KINDS))
        found += inside or [name]
    return found

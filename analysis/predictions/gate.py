"""The gate for a release: may the new model replace the old one, by limits and by the noise floor of a recipe?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbviz_ray.config.sweep_files import yaml_mapping
from dbviz_ray.errors import UserError
from dbviz_ray.scripts.recipe import AGAIN
from dbviz_ray.store import Store
from dbviz_ray.terminal.arguments import share

from ..report.folders import check_free, json_of, made, written
from ..scores.agreement import agreement
from .command import predictions_of
from .files import KINDS, LABELS
from .verdict_files import VerdictText
from .verdicts import MEASURES, Changes, check, check_noise_floor, overall

if TYPE_CHECKING:
    from dbviz_ray.predictions import Gating

RESULT, MARKDOWN, JUNIT = "verdict.json", "verdict.md", "verdict.xml"
KIND = "gate"


def decide(request: Gating, command: str) -> str:
    """Print the verdict, write its files, and return it. UserError about a field of `request` or a file."""
    store = Store(request.out)
    check_free(store, (RESULT, MARKDOWN, JUNIT), RESULT, KIND)
    if len(request.files) != 2:
        raise UserError("files", len(request.files), reason="given", allowed="two: the old model's and the new one's")
    limits = _limits(request)
    reruns = _rerun_files(request.reruns)
    if not limits and not reruns:
        raise UserError("limits", reason="none is given", allowed=f"one of {', '.join(MEASURES)}, or reruns")
    predictions = predictions_of(request, reruns)
    (old, new), truth = predictions.predicted[:2], predictions.truth
    changes = Changes(len(old), int((old != new).sum()))
    if truth is not None:
        wins, losses = (old != truth) & (new == truth), (old == truth) & (new != truth)
        changes = Changes(changes.items, changes.changed, int(wins.sum()), int(losses.sum()))
    for field in limits:
        if truth is None and MEASURES[field].needs_labels:
            raise UserError(field, reason="needs labels, and no file has any", allowed=f"a column {LABELS[0]}")
    checks = [check(field, limit, changes) for field, limit in limits.items()]
    if reruns:
        churn = 1 - agreement(predictions.predicted[2:, None])[0]
        checks.append(check_noise_floor(churn, MEASURES["max_churn"].interval(changes)))
    verdict = overall(checks)
    result = {
        "kind": KIND,
        "verdict": verdict,
        "command": command,
        "checks": checks,
        "changes": changes,
        "sources": predictions.sources,
        "remarks": predictions.remarks,
        "provenance": made(),
    }
    told = VerdictText(verdict, predictions.names[0], predictions.names[1], checks, predictions.remarks)
    files = {RESULT: json_of(result), MARKDOWN: told.markdown().encode(), JUNIT: told.junit()}
    written(store, files)
    print(told.text())
    print(f"\nin {request.out}: {', '.join(files)}", flush=True)
    return verdict


def _limits(request: Gating) -> dict[str, float]:
    """The limits of a request by field, those of its file first."""
    found: dict[str, float] = {}
    for field, value in (yaml_mapping(Path(request.limits)) if request.limits else {}).items():
        if field not in MEASURES:
            raise UserError(str(request.limits), field, reason="is unknown", allowed=", ".join(MEASURES))
        found[field] = share(str(value), field=f"{request.limits}, {field}")
    return found | {field: value for field in MEASURES if (value := getattr(request, field)) is not None}


def _rerun_files(named: Sequence[str]) -> tuple[str, ...]:
    """The files of predictions that are named, and those in folders that are named, such as the one of `repeat`."""
    found: list[str] = []
    for name in named:
        inside = sorted(
            str(file)
            for pattern in ("*", "*/out/*")
            for file in Path(name).glob(pattern)
            if file.name.endswith(KINDS) and not file.parent.parent.name.endswith(AGAIN)
        )
        if Path(name).is_dir() and not inside:
            raise UserError("reruns", name, reason="holds no predictions", allowed=", ".join(KINDS))
        found += inside or [name]
    return tuple(found)

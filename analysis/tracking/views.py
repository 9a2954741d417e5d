"""The prepared page of an experiment: its charts of all curves, and the columns of its table.

MLflow's pages keep what people have arranged there as a tag of the experiment, packed as here, and list it under
"Views". It is a format of theirs: pages that do not know it show their own arrangement.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

from .links import CHARTS_VIEW
from .metrics import MAIN, OVER
from .runs import Run
from .words import SWEEP

VIEW_TAG = f"mlflow.sharedViewState.{CHARTS_VIEW}"
TITLES = {
    "width": "Over the width of the network",
    "epoch": "Over the epochs of a training",
    None: "Groups of trainings",
}
CHARTED = {**MAIN, "train_error": "errors", "margin": "margins", "margin_mislabelled": "margins"}
"""Scores with a chart, and their sections."""
COLUMNS, HEIGHT = 2, 380
"""Charts side by side, and the height of each in pixels."""
SHOWN = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}


def view_tag(title: str, runs: Sequence[Run], created: int) -> str:
    """The tag's value: charts of what there is in `runs`. The same for the same ones.

    Args:
        title: What the view is called.
        runs: All runs of a sweep.
        created: When the experiment was made, in milliseconds since 1970.
    """
    logged = {name for run in runs for name, _, _ in run.metrics}
    charts, sections = [], []
    for step, section_title in TITLES.items():
        names = [f"{section}{OVER[step]}/{score}" for score, section in CHARTED.items()]
        found = [_chart(name, step) for name in names if name in logged]
        if found:
            charts += found
            sections.append(
                {"uuid": str(step), "name": section_title, "columns": COLUMNS, "cardHeight": HEIGHT, **SHOWN}
            )
    state = {
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,  # else the pages sort the sections
        "selectedColumns": _columns(runs, [chart["metricKey"] for chart in charts if _is_main(chart["metricKey"])]),
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    return json.dumps({"name": title, "createdAt": created, "updatedAt": created, "state": f"deflate;{packed}"})


def _chart(metric: str, step: str | None) -> dict[str, Any]:
    common = {
        "uuid": metric,
        "type": "BAR" if step is None else "LINE",
        "metricSectionId": str(step),
        "metricKey": metric,
        "displayName": metric,
        "runsCountToCompare": 20,
        "deleted": False,
        "isGenerated": False,
    }
    if step is None:
        return common
    return common | {
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "xAxisScaleType": "log",
        "useGlobalXaxisKey": False,
        "scaleType": "linear",
        "range": {},
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": True,
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
    }


def _is_main(metric: str) -> bool:
    return metric.rpartition("/")[2] in MAIN


def _columns(runs: Sequence[Run], metrics: Sequence[str]) -> list[str]:
    """What the curves and groups differ in, and their scores."""
    parts = [run for run in runs if run.parent == SWEEP]
    names = dict.fromkeys(name for run in parts for name in run.params)
    varied = [name for name in names if len({str(run.params.get(name)) for run in parts}) > 1]
    return [*(f"params.`{name}`" for name in varied), *(f"metrics.`{name}`" for name in metrics)]

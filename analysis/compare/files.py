"""The files of a comparison: one HTML report, tables, pictures, and everything as JSON."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dbviz_ray.errors import UserError
from dbviz_ray.store import Store
from dbviz_ray.store.provenance import provenance

from ..figures.reproducibility_matrix import FEW
from ..report.page import Illustration
from ..statistics.precision import Advice
from .comparison import Comparison
from .report import Report, html_report
from .sentences import KINDS
from .tables import models_frame, pairs_frame

RESULT, REPORT, MODELS, PAIRS = "comparison.json", "report.html", "models.csv", "pairs.csv"
REGIONS, BY_PLANE, MATRIX = "regions.png", "agreement_by_plane.png", "reproducibility.png"
FILES = (REPORT, MODELS, PAIRS, REGIONS, BY_PLANE, MATRIX, RESULT)
KIND = "dbviz_ray comparison"
"""By which a folder's RESULT is known to be ours."""
DOTS = 150
"""Dots an inch of the pictures."""


@dataclass(frozen=True)
class Origin:
    """Where a comparison comes from."""

    command: str
    arguments: Mapping[str, Any]
    images: str
    """What they are, in a few words."""
    data: Mapping[str, Any]
    checkpoints: Sequence[Mapping[str, Any]]
    """For each model its name, file and hash, and what built its network."""


def check_free(store: Store) -> None:
    """UserError if files would be written over that no comparison has written, or can be seen not to be writable."""
    if store.is_local:
        folder = Path(store.root)
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise UserError(f"--out: {store.root} cannot be written; allowed: a folder, or where one can be made")
    if store.exists(RESULT):
        try:
            content = store.read_json(RESULT)
        except ValueError:
            content = {}
        if isinstance(content, dict) and content.get("kind") == KIND:
            return
    taken = next((name for name in FILES if store.exists(name)), None)
    if taken is not None:
        raise UserError(f"--out: {store.path(taken)} was not written by a comparison; allowed: another folder")


def write_comparison(
    store: Store, comparison: Comparison, regions: Figure, precision: float, seed: int, origin: Origin
) -> list[str]:
    """Write every file, the JSON last; their names.

    Args:
        store: The folder.
        comparison: What was found.
        regions: The picture of decision regions.
        precision: See `dbviz_ray.analysis.compare.sentences.advice`.
        seed: Of the planes.
        origin: Where it comes from.
    """
    pictures = _pictures(comparison, regions)
    made = {"made": datetime.now(UTC).isoformat(timespec="seconds"), **provenance()}
    planes, side = comparison.shape
    report = Report(
        title=" and ".join(comparison.names) if len(comparison.models) == 2 else f"{len(comparison.models)} models",
        about=f"{origin.images}; {planes:,} planes of {side} x {side} points through "
        f"{KINDS[comparison.plane_classes]}, seed {seed}.",
        plane_classes=comparison.plane_classes,
        precision=precision,
        pictures=list(pictures.values()),
        command=origin.command,
        origin=[
            *((facts["name"], f"{facts['checkpoint']}, sha256 {facts['sha256']}") for facts in origin.checkpoints),
            ("images", f"{origin.images}, {json.dumps(dict(origin.data), default=str)}"),
            *made.items(),
        ],
    )
    result = {
        "kind": KIND,
        "command": origin.command,
        "arguments": origin.arguments,
        "checkpoints": origin.checkpoints,
        "data": {"images": origin.images, **origin.data},
        "provenance": made,
        "reproducibility": asdict(comparison.reproducibility),
        "agreement_on_images": asdict(comparison.agreement_on_images),
        "advice": _advice(comparison.advice(precision)),
        "advice_on_the_worst_known_pair": _advice(comparison.advice_on_worst_pair(precision)[1]),
        "models": [asdict(model) for model in comparison.models],
        "pairs": [asdict(pair) for pair in comparison.pairs],
    }
    files = {
        REPORT: html_report(comparison, report).encode(),
        MODELS: models_frame(comparison).to_csv(index=False).encode(),
        PAIRS: pairs_frame(comparison).to_csv(index=False).encode(),
        **{name: picture.content for name, picture in pictures.items()},
        RESULT: (json.dumps(_without_nan(result), indent=2, default=str) + "\n").encode(),
    }
    _write(store, files)
    return list(files)


def _write(store: Store, files: Mapping[str, bytes]) -> None:
    """Write the files, and delete those that an earlier comparison had and this one has not.

    Interrupted, it takes back what it wrote; in the place of an earlier comparison, which is partly gone then, it notes
    that with what was raised.
    """
    is_first = not store.exists(RESULT)
    try:
        for name, content in files.items():
            store.write(name, content)
        for name in set(FILES) - set(files):
            store.remove(name)
    except (KeyboardInterrupt, OSError) as stop:
        if is_first:
            for name in files:
                store.remove(name)
        else:
            stop.add_note(f"{store.root} now holds files of the earlier comparison and of this one")
        if isinstance(stop, OSError):
            raise UserError(f"--out: {store.root} cannot be written ({stop.strerror or stop})") from None
        raise


def _advice(found: Advice) -> dict[str, Any]:
    return {"precision": found.wanted, "reach": found.reach, "planes": found.items, "models": found.models}


def _pictures(comparison: Comparison, regions: Figure) -> dict[str, Illustration]:
    """PNGs by file name."""
    several = len(comparison.models) > 2
    of_regions = (
        "Decision regions on planes through the framed images: the first plane drawn, which was not chosen for its "
        "looks, the one on which the models agree least, and the one in the middle. At the right, where they disagree"
        + (" (the darker, the more of the pairs)." if several else ", in the colour of what the second predicts.")
    )
    of_planes = "Planes in the order of how far the models agree on them" + (
        "; dotted: the mean over planes, which is the reproducibility." if len(comparison.pairs) == 1 else "."
    )
    found = {
        REGIONS: (regions, "decision regions", of_regions),
        BY_PLANE: (comparison.by_plane(), "agreement, plane by plane", of_planes),
    }
    if several:
        reach = "; ±: half a 95 % interval over planes" * (len(comparison.models) <= FEW)
        caption = f"Reproducibility of every two models{reach}."
        found = {MATRIX: (comparison.matrix(), "reproducibility of every two models", caption), **found}
    return {name: Illustration(_png(figure), seen, caption, DOTS) for name, (figure, seen, caption) in found.items()}


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DOTS)
    return picture.getvalue()


def _without_nan(value: Any) -> Any:
    """The value with null in place of what JSON has no numbers for."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

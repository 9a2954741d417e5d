"""The files of a comparison: one HTML report, tables, pictures, and everything as JSON."""

from __future__ import annotations

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
from dbviz_ray.store.models import provenance

from ..figures import DOTS
from ..figures.drawing import encoded
from ..figures.reproducibility_matrix import FEW
from ..report.page import Illustration, render
from ..statistics.precision import Advice
from .comparison import Comparison
from .sentences import KINDS, answer, how_to_read, precision_text
from .tables import image_rows, model_rows, models_frame, pairs_frame, plane_rows

RESULT, REPORT, MODELS, PAIRS = "comparison.json", "report.html", "models.csv", "pairs.csv"
REGIONS, BY_PLANE, MATRIX = "regions.png", "agreement_by_plane.png", "reproducibility.png"
FILES = (REPORT, MODELS, PAIRS, REGIONS, BY_PLANE, MATRIX, RESULT)
KIND = "dbviz_ray comparison"
"""Marks a RESULT as ours."""


@dataclass(frozen=True)
class Inputs:
    """What was compared, and the command that did it."""

    command: str
    arguments: Mapping[str, Any]
    images: str
    """A few words about them."""
    data: Mapping[str, Any]
    checkpoints: Sequence[Mapping[str, Any]]
    """For each model its name, file and hash, and what built its network."""


def check_free(store: Store) -> None:
    """UserError for a folder that cannot be written, or that holds files of these names from anything else."""
    if store.is_local:
        folder = Path(store.root)
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise UserError("out", store.root, reason="cannot be written", allowed="a folder, or a path to create one")
    if store.exists(RESULT):
        try:
            content = store.read_json(RESULT)
        except ValueError:
            content = {}
        if isinstance(content, dict) and content.get("kind") == KIND:
            return
    taken = next((name for name in FILES if store.exists(name)), None)
    if taken is not None:
        raise UserError("out", store.path(taken), reason="was not written by a comparison", allowed="another folder")


def write_comparison(
    store: Store, comparison: Comparison, regions: Figure, precision: float, seed: int, inputs: Inputs
) -> list[str]:
    """Write every file, the JSON last, and return their names.

    Args:
        store: The folder.
        comparison: What was found.
        regions: The picture of decision regions.
        precision: The wanted half-width of the interval of the reproducibility.
        seed: Of the planes.
        inputs: What was compared.
    """
    pictures = _pictures(comparison, regions)
    made = {"made": datetime.now(UTC).isoformat(timespec="seconds"), **provenance()}
    result = {
        "kind": KIND,
        "command": inputs.command,
        "arguments": inputs.arguments,
        "checkpoints": inputs.checkpoints,
        "data": {"images": inputs.images, **inputs.data},
        "provenance": made,
        "reproducibility": asdict(comparison.reproducibility),
        "agreement_on_images": asdict(comparison.agreement_on_images),
        "advice": _advice(comparison.advice(precision)),
        "advice_on_the_worst_known_pair": _advice(comparison.advice_on_worst_pair(precision)[1]),
        "models": [asdict(model) for model in comparison.models],
        "pairs": [asdict(pair) for pair in comparison.pairs],
    }
    files = {
        REPORT: _report(comparison, list(pictures.values()), precision, seed, inputs, made).encode(),
        MODELS: models_frame(comparison).to_csv(index=False).encode(),
        PAIRS: pairs_frame(comparison).to_csv(index=False).encode(),
        **{name: picture.content for name, picture in pictures.items()},
        RESULT: (json.dumps(_without_nan(result), indent=2, default=str) + "\n").encode(),
    }
    _write(store, files)
    return list(files)


def _report(
    comparison: Comparison,
    pictures: Sequence[Illustration],
    precision: float,
    seed: int,
    inputs: Inputs,
    made: Mapping[str, Any],
) -> str:
    """The page."""
    planes, side = comparison.shape
    kind = comparison.plane_classes
    checkpoints = [(facts["name"], f"{facts['checkpoint']}, sha256 {facts['sha256']}") for facts in inputs.checkpoints]
    images = ("images", f"{inputs.images}, {json.dumps(dict(inputs.data), default=str)}")
    return render(
        "comparison.html",
        title=" and ".join(comparison.names) if len(comparison.models) == 2 else f"{len(comparison.models)} models",
        about=f"{inputs.images}; {planes:,} planes of {side} x {side} points through {KINDS[kind]}, seed {seed}.",
        answer=answer(comparison, kind),
        advice=precision_text(comparison, precision),
        models=model_rows(comparison),
        planes_title=f"Pairs on {planes:,} planes of {side} x {side} points",
        planes=plane_rows(comparison),
        images_title=f"Pairs on {comparison.images:,} images",
        images=image_rows(comparison),
        pictures=pictures,
        reading=how_to_read(comparison),
        command=inputs.command,
        origin=[*checkpoints, images, *made.items()],
    )


def _write(store: Store, files: Mapping[str, bytes]) -> None:
    """Write the files, and delete those of an earlier comparison that this one does not have.

    An interruption deletes what was written; over an earlier comparison, which is incomplete then, it adds a note.
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
            stop.add_note(f"{store.root} now mixes files of the earlier comparison and of this one")
        if isinstance(stop, OSError):
            raise UserError("out", store.root, reason=f"cannot be written ({stop.strerror or stop})") from None
        raise


def _advice(found: Advice) -> dict[str, Any]:
    return {"precision": found.wanted, "reach": found.reach, "planes": found.items, "models": found.models}


def _pictures(comparison: Comparison, regions: Figure) -> dict[str, Illustration]:
    """PNGs by file name."""
    several = len(comparison.models) > 2
    of_regions = (
        "Decision regions on planes through the framed images: the first plane drawn, which nobody chose, the plane "
        "with the least agreement, and the one in the middle. Right: where the models disagree"
        + (" (the darker, the more of the pairs)." if several else ", in the colour of the second model's prediction.")
    )
    of_planes = "Planes, sorted by the agreement of the models" + (
        "; dotted: the mean over planes, which is the reproducibility." if len(comparison.pairs) == 1 else "."
    )
    found = {
        REGIONS: (regions, "decision regions", of_regions),
        BY_PLANE: (comparison.by_plane(), "agreement, plane by plane", of_planes),
    }
    if several:
        half_width = "; ±: half a 95 % interval over planes" * (len(comparison.models) <= FEW)
        caption = f"Reproducibility of every two models{half_width}."
        found = {MATRIX: (comparison.matrix(), "reproducibility of every two models", caption), **found}
    return {
        name: Illustration(encoded(figure, "png"), seen, caption, DOTS)
        for name, (figure, seen, caption) in found.items()
    }


def _without_nan(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

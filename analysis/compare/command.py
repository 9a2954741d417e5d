"""The command that compares models: from its options to one HTML report, tables, pictures, and everything as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from pydantic_core import to_json
from torch import nn

from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.evaluation.label_maps import label_maps
from dbviz_ray.evaluation.pictures import PICTURE_RESOLUTION
from dbviz_ray.evaluation.run_models import RunModel
from dbviz_ray.planes import PlaneSet
from dbviz_ray.store import Store
from dbviz_ray.store.models import provenance
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Amount, Progress

from ..figures import DOTS
from ..figures.drawing import encoded
from ..figures.reproducibility_matrix import FEW
from ..report.page import Illustration, render
from ..statistics.intervals import Advice
from .comparison import Comparison, compared, device_called, plane_options, planes_through
from .figures import representative_planes
from .images import find_images
from .models import ModelSource, find_models
from .rendering import (
    KINDS,
    answer,
    image_rows,
    model_rows,
    models_frame,
    pairs_frame,
    plane_rows,
    precision_text,
    text_report,
)

if TYPE_CHECKING:
    from dbviz_ray.score import Request

PLANES_SHOWN = 3
"""Pictures have finer grids: 3 take 120,000 points, beside the 1,250,000 of 500 planes."""
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
    """Of a `Request`."""
    images: str
    """A few words about them."""
    data: Mapping[str, Any]
    checkpoints: Sequence[Mapping[str, Any]]
    """For each model its name, file and hash, and what built its network."""


def score(request: Request, command: str) -> str:
    """Compare the models, write the files, and return the text to print; `command` is for the report.

    Raises:
        UserError: about a field of `request`, or about a file.
    """
    store = Store(request.out)
    check_free(store)
    device = device_called(request.device)
    fields = ("planes", "resolution", "margin", "classes", "seed")
    config = plane_options(**{field: getattr(request, field) for field in fields})
    sources = find_models(request)
    data = find_images(request, [source.built_by for source in sources if isinstance(source.built_by, RunModel)])
    planes = planes_through(data.images, data.labels, config, len(sources))

    def networks() -> Iterator[tuple[str, nn.Module]]:
        """The names and the networks, loaded one at a time."""
        for source in sources:
            interruption.check()
            yield source.name, source.network(planes.image_shape, data.classes).to(device)

    for _ in networks():
        pass  # weights that do not fit are an error before anything is labelled
    with _progress("label", sources, planes) as advance:
        comparison = compared(
            networks(), data.images, data.labels, planes, config, device,
            batch_points=request.batch_points, class_names=data.class_names, advance=advance,
        )  # fmt: skip
    shown = representative_planes(comparison.same_points, PLANES_SHOWN)
    finer = planes.part(shown, max(planes.resolution, PICTURE_RESOLUTION))
    maps = []
    with _progress("draw", sources, finer) as advance:
        for name, network in networks():
            maps.append(label_maps(network, finer, device, batch_points=request.batch_points).numpy())
            advance(name, len(finer) * finer.resolution**2)
    inputs = Inputs(command, asdict(request), data.called, data.facts, [source.facts() for source in sources])
    written = write_comparison(store, comparison, comparison.figure(shown, np.stack(maps)), inputs)
    return f"{text_report(comparison, config.classes, request.precision)}\n\nin {request.out}: {', '.join(written)}"


@contextmanager
def _progress(stage: str, sources: Sequence[ModelSource], planes: PlaneSet) -> Iterator[Callable[[str, int], None]]:
    """A callback that shows how many points of a model are done; all models are taken to cost the same."""
    points = len(planes) * planes.resolution**2
    with Progress(stage, {source.name: Amount(points, 1.0) for source in sources}, "points") as progress:

        def advance(name: str, done: int) -> None:
            interruption.check()
            progress.reach(name, done)

        yield advance


def check_free(store: Store) -> None:
    """UserError for a folder that cannot be written, or that holds files of these names from anything else."""
    if store.is_local:
        folder = Path(store.root)
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise UserError("out", store.root, reason="cannot be written", allowed="a folder, or a path to create one")
    with suppress(FileNotFoundError, DamagedFileError):
        if store.read_json(RESULT).get("kind") == KIND:
            return
    taken = next((name for name in FILES if store.exists(name)), None)
    if taken is not None:
        raise UserError("out", store.path(taken), reason="was not written by a comparison", allowed="another folder")


def write_comparison(store: Store, comparison: Comparison, regions: Figure, inputs: Inputs) -> list[str]:
    """Write every file, the JSON last, and return their names; `regions` is the picture of decision regions."""
    precision: float = inputs.arguments["precision"]
    pictures = _pictures(comparison, regions)
    made = {"made": datetime.now(UTC).isoformat(timespec="seconds"), **provenance()}
    checkpoints = [(facts["name"], f"{facts['checkpoint']}, sha256 {facts['sha256']}") for facts in inputs.checkpoints]
    images = ("images", f"{inputs.images}, {json.dumps(dict(inputs.data), default=str)}")
    report = render(
        "comparison.html",
        title=" and ".join(comparison.names) if len(comparison.models) == 2 else f"{len(comparison.models)} models",
        comparison=comparison,
        kind=KINDS[comparison.plane_classes],
        answer=answer(comparison, comparison.plane_classes),
        precision=precision_text(comparison, precision),
        model_rows=model_rows(comparison),
        plane_rows=plane_rows(comparison),
        image_rows=image_rows(comparison),
        pictures=list(pictures.values()),
        inputs=inputs,
        origin=[*checkpoints, images, *made.items()],
    )
    result = {
        "kind": KIND,
        "command": inputs.command,
        "arguments": inputs.arguments,
        "checkpoints": inputs.checkpoints,
        "data": {"images": inputs.images, **inputs.data},
        "provenance": made,
        "reproducibility": comparison.reproducibility,
        "agreement_on_images": comparison.agreement_on_images,
        "advice": _advice(comparison.advice(precision)),
        "advice_on_the_worst_known_pair": _advice(comparison.advice_on_worst_pair(precision)[1]),
        "models": comparison.models,
        "pairs": comparison.pairs,
    }
    files = {
        REPORT: report.encode(),
        MODELS: models_frame(comparison).to_csv(index=False).encode(),
        PAIRS: pairs_frame(comparison).to_csv(index=False).encode(),
        **{name: picture.content for name, picture in pictures.items()},
        RESULT: to_json(result, indent=2, inf_nan_mode="null", fallback=str) + b"\n",
    }
    _write(store, files)
    return list(files)


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
    found = {}

    def show(name: str, figure: Figure, seen: str, caption: str) -> None:
        found[name] = Illustration(encoded(figure, "png"), seen, caption, DOTS)

    several = len(comparison.models) > 2
    if several:
        half_width = "; ±: half a 95 % interval over planes" * (len(comparison.models) <= FEW)
        every_two = "reproducibility of every two models"
        show(MATRIX, comparison.matrix(), every_two, f"{every_two.capitalize()}{half_width}.")
    differing = " (the darker, the more pairs)" if several else ", in the colour of the second model's prediction"
    show(
        REGIONS,
        regions,
        "decision regions",
        "Decision regions on planes through the framed images: the first plane drawn, which nobody chose, the plane "
        f"with the least agreement, and the one in the middle. Right: where the models disagree{differing}.",
    )
    mean = "" if several else "; dotted: the mean over planes, which is the reproducibility"
    sorted_planes = f"Planes, sorted by the agreement of the models{mean}."
    show(BY_PLANE, comparison.by_plane(), "agreement, plane by plane", sorted_planes)
    return found

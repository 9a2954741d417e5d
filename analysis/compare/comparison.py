"""Compare classifiers of your own in a notebook: no Ray, no MLflow, no files.

from dbviz_ray import compare
result = compare([model_a, model_b], images, labels)
print(result)
result.figure()
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.config.validation import validated
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.evaluation.label_maps import Classifier
from dbviz_ray.planes import PlaneSet, draw_planes
from dbviz_ray.store import Store

from ..figures.disagreement import COLUMNS, MOST_CONTESTED, draw_thumbnails, image_text
from ..figures.regions import PlanePicture, displayable
from ..report.page import render
from .classifiers import classifier_of
from .figures import CellFigure, agreement_figure, matrix_figure, regions_figure, representative_planes
from .images import images_and_labels
from .labelling import Labeller, Labels
from .rendering import PRECISION, answer, images_frame, models_frame, pairs_frame, precision_text, tables, text_report
from .scores import Scores, scores_of

ONE_PROBABILITY = "The one score of {} lies within 0 and 1 everywhere, so it counts as the probability of class 1."
MOST_PLANES = 1_000_000
MOST_LABELS = 4 * 10**9
"""In memory, one byte each, or two with more than 256 classes."""
NO_CLASS = -1
"""Label of an image whose class is not known."""


@dataclass(frozen=True)
class Comparison(Scores):
    """How far two or more classifiers are the same model.

    `print` shows it in words and tables, a notebook as a table; `to_frame` gives the numbers, `save` writes all files.
    """

    label_maps: NDArray[Any]
    """Predicted classes, `[models, planes, resolution (b), resolution (a)]`."""
    planes: PlaneSet
    drawn: PlaneSetConfig
    """How the planes were chosen."""
    class_names: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    """What was assumed about the images and models, a sentence each."""

    def __str__(self) -> str:
        return text_report(self, self.drawn.classes, remarks=self.remarks)

    def _repr_html_(self) -> str:
        told, remarks = answer(self, self.drawn.classes), [precision_text(self, PRECISION), *self.remarks]
        return render("comparison_cell.html", answer=told, tables=tables(self), remarks=remarks)

    def to_frame(self, of: Literal["pairs", "models", "images"] = "pairs") -> pd.DataFrame:
        """A row for each pair or model with all scores and the ends of their intervals, or each image with votes."""
        return {"pairs": pairs_frame, "models": models_frame, "images": images_frame}[of](self)

    def save(self, folder: str | Path) -> list[str]:
        """Write the report, tables, JSON and pictures into a folder, as `dbviz-ray score` does; returns their names.

        UserError if the folder cannot be written, or holds files of these names from anything else.
        """
        from ..report.folders import check_free
        from .files import FILES, KIND, RESULT, Inputs, write_numbers, write_pictures

        store = Store(folder)
        check_free(store, FILES, RESULT, KIND)
        arguments = {**self.drawn.model_dump(), "precision": PRECISION}
        inputs = Inputs("dbviz_ray.compare(...)", arguments, f"{self.images:,} images", {}, ())
        return write_numbers(store, self, inputs) + write_pictures(store, self, inputs, self.figure())

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models."""
        return tuple(model.name for model in self.models)

    def figure(self, planes: int | Sequence[int] = 3, maps: NDArray[Any] | None = None) -> Figure:
        """Regions of planes (rows) by model (columns), and where the models disagree.

        Args:
            planes: Which planes, or how many of `representative_planes`. UserError for those that do not exist.
            maps: Label maps `[models, planes shown, rows, columns]` of a finer grid; by default those that were scored.
        """
        count = self.shape[0]
        shown = representative_planes(self.same_points, max(planes, 0)) if isinstance(planes, int) else list(planes)
        if not shown or not all(isinstance(plane, int | np.integer) and 0 <= plane < count for plane in shown):
            allowed = f"how many, at least 1, or a list of numbers from 0 to {count - 1}"
            raise UserError("planes", planes, allowed=allowed)
        pictures = self.label_maps[:, shown] if maps is None else maps
        called = [f"plane {plane}\nagreement {self.same_points[:, plane].mean():.0%}" for plane in shown]
        return regions_figure(self.names, [self.picture_of(plane) for plane in shown], pictures, called)

    def matrix(self) -> Figure:
        """Reproducibility of every two models."""
        return matrix_figure(self)

    def by_plane(self) -> Figure:
        """Agreement of the models, plane by plane."""
        return agreement_figure(self)

    def contested(self) -> Figure | None:
        """The images on which the models disagree most, of those that planes go through, with the models' classes.

        None if the models agree on all of them.
        """
        drawn = self.planes.anchor_indices.numpy()
        places = {int(image): place for place, image in reversed(list(np.ndenumerate(drawn)))}
        votes = self.to_frame("images").loc[sorted(places)]
        ranked = votes[votes["conflict_ratio"] > 0].sort_values("conflict_ratio", ascending=False, kind="stable")
        shown = []
        for image in ranked.index[:MOST_CONTESTED]:
            plane, anchor = places[image]
            label = None if self.truth is None else int(self.truth[image])
            text = image_text(image, label, self.predicted[:, image], self.class_names, self.names)
            shown.append((self.picture_of(plane).images[anchor], text))
        rows = [("", shown[first : first + COLUMNS]) for first in range(0, len(shown), COLUMNS)]
        return draw_thumbnails(CellFigure(layout="constrained"), rows) if shown else None

    def picture_of(self, plane: int) -> PlanePicture:
        """One plane's images, from the darkest pixel of the three (0) to the brightest (1), and their positions."""
        shown = self.planes.part([plane])  # the geometry of all planes takes much memory
        anchors = shown.anchors[0].double().numpy()
        low, high = anchors.min(), anchors.max()
        a, b = shown.coordinates[0].numpy().T
        (left, *_, right), (bottom, *_, top) = shown.axes[0].tolist()
        images = displayable((anchors - low) / (high - low))
        return PlanePicture(images, a, b, (left, right, bottom, top), self.class_names)


def compare(
    models: Iterable[Classifier],
    images: Tensor | NDArray[Any] | Iterable[Any],
    labels: Tensor | NDArray[Any] | Sequence[Any] | None = None,
    *,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    planes: int = 500,
    resolution: int = 50,
    margin: float = 0.1,
    classes: Literal["different", "any", "same"] = "different",
    seed: int = 0,
    device: torch.device | str = "cpu",
    batch_points: int | None = None,
) -> Comparison:
    """Compare two or more classifiers on images and on planes through triplets of them.

    Args:
        models: Each maps float images `[n, channels, height, width]` to scores `[n, classes]`, old models before new.
            An nn.Module is evaluated in evaluation mode and left as it was.
        images: `[n, channels, height, width]`, normalised as the models expect them; or a loader or a data set of
            torch that gives such images, with their labels or without.
        labels: `[n]`, the images' classes: numbers, or names among `class_names`. Without them, errors are not scored
            and planes go through any three images.
        names: Names of the models; "model 0", "model 1", ... by default.
        class_names: Names of the classes; their numbers by default.
        planes: Number of planes; the interval over planes narrows with its square root.
        resolution: Grid points on each side of a plane.
        margin: How far the grid reaches past the three images, as a share of their bounding box.
        classes: Whether the three images of a plane have different classes, any, or the same.
        seed: Seed of the triplets.
        device: Where a function gets its images, "auto" for a GPU if there is one; a module gets them where its
            parameters are.
        batch_points: Points in a batch; by default what suits the device.

    Raises:
        UserError: if an argument cannot be used; the message names it.
    """
    config = plane_options(planes=planes, resolution=resolution, margin=margin, classes=classes, seed=seed)
    place = device_called(device)
    if not isinstance(models, Iterable):
        raise UserError("models", reason=f"is {type(models).__name__}", allowed="two or more classifiers")
    models = list(models)
    called = [f"model {index}" for index in range(len(models))] if names is None else list(names)
    if len(called) != len(models) or len(set(called)) < len(called):
        raise UserError("names", called, allowed=f"{len(models)} different ones")
    given, truth = images_and_labels(images, labels, class_names=class_names)
    config, drawn = planes_through(given, truth, config, len(models))
    named = [(name, classifier_of(name, model, class_names)) for name, model in zip(called, models, strict=True)]
    labeller = Labeller(lambda: named, given, drawn, place, batch_points)
    found = labeller.begin()
    check_classes(found, truth, class_names)
    while found.planes < len(drawn):
        found = labeller.extended(found)
    return comparison_of(found, truth, drawn, config, class_names)


def plane_options(**fields: Any) -> PlaneSetConfig:
    """The planes that `compare` asks for, its `planes` being their `count`."""
    try:
        return validated(PlaneSetConfig, {"count" if name == "planes" else name: fields[name] for name in fields})
    except UserError as error:
        raise error.renamed(lambda field: "planes" if field == "count" else field) from None


def device_called(name: torch.device | str) -> torch.device:
    """The device of a name, "auto" being a GPU if there is one. UserError for a device that does not exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = f"is not available ({one_line(error)})"
        raise UserError("device", name, reason=reason, allowed="auto, cpu, or an accelerator of this machine") from None
    return device


def planes_through(
    images: Tensor, labels: Tensor | None, config: PlaneSetConfig, models: int
) -> tuple[PlaneSetConfig, PlaneSet]:
    """The planes on which `models` models are compared, and how they were chosen.

    They go through any three images if their classes are unknown or fewer than three. UserError for fewer than two
    models, or impossible planes.
    """
    if config.classes == "same" and labels is None:
        raise UserError("classes", config.classes, reason="needs the images' labels", allowed="any")
    if config.classes == "different" and (labels is None or len(labels.unique()) < 3):
        config = config.model_copy(update={"classes": "any"})
    if models < 2:
        raise UserError("models", models, reason="given", allowed="two or more")
    if config.count > MOST_PLANES:
        raise UserError("planes", config.count, allowed=f"at most {MOST_PLANES}")
    predictions = config.count * config.resolution**2 * models
    if predictions > MOST_LABELS:
        reason = f"of {config.resolution} x {config.resolution} points for {models} models are {predictions:,} labels"
        raise UserError("planes", config.count, reason=reason, allowed=f"at most {MOST_LABELS:,} labels")
    known = torch.full((len(images),), NO_CLASS) if labels is None else labels
    return config, draw_planes(images.float(), known, config)


def comparison_of(
    labels: Labels,
    truth: Tensor | None,
    planes: PlaneSet,
    config: PlaneSetConfig,
    class_names: Sequence[str] | None = None,
    remarks: Sequence[str] = (),
) -> Comparison:
    """The comparison of labelled models: of all planes, or of the first ones if labelling was interrupted.

    `truth` are the images' classes, `[images]`, if they are known. The planes were drawn by `config`.
    """
    known = None if truth is None else truth.numpy()
    return Comparison(
        **vars(scores_of(labels.names, labels.predicted, labels.maps, known, labels.classes)),
        label_maps=labels.maps,
        planes=planes if labels.planes == len(planes) else planes.part(range(labels.planes)),
        drawn=config,
        class_names=tuple(map(str, range(labels.classes) if class_names is None else class_names)),
        remarks=(*remarks, *(ONE_PROBABILITY.format(name) for name in labels.probabilities)),
    )


def check_classes(labels: Labels, truth: Tensor | None, class_names: Sequence[str] | None) -> None:
    """UserError unless the models have all classes of the images, and a class for each name."""
    if truth is not None and truth.max() >= labels.classes:
        reason = f"is not a class of {labels.names[0]}, which has {labels.classes}"
        raise UserError("labels", int(truth.max()), reason=reason, allowed=f"0 to {labels.classes - 1}")
    if class_names is not None and len(class_names) != labels.classes:
        allowed = f"{labels.classes}, one for each class of the models"
        raise UserError("class_names", reason=f"{len(class_names)} given", allowed=allowed)

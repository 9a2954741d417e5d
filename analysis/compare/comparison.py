"""Compare classifiers of your own in a notebook: no Ray, no MLflow, no files.

from dbviz_ray import compare
result = compare([model_a, model_b], images, labels)
print(result)
result.figure()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.config.types import Several
from dbviz_ray.config.validation import validated
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.evaluation.label_maps import Classifier, check_scores, default_batch, dtype_of, evaluating, label_planes
from dbviz_ray.planes import PlaneSet, draw_planes

from ..figures.regions import PlanePicture, displayable
from .figures import SeenPlane, agreement_figure, matrix_figure, regions_figure, representative_planes
from .images import tensor_of
from .scores import Scores, scores_of
from .sentences import text_report

CHUNK = 10
"""Planes labelled between two reports of progress."""
MOST_LABELS = 4 * 10**9
"""One byte each, in memory."""


class Planes(PlaneSetConfig):
    """The planes of a comparison; their number goes by the name `planes`."""

    count: Annotated[Several, Field(le=1_000_000)] = Field(500, alias="planes", description="Planes in the set.")
    resolution: Annotated[Several, Field(le=2000)] = Field(50, description="Grid points on each side.")


@dataclass(frozen=True)
class Comparison(Scores):
    """How far two or more classifiers are the same model; `print` tells it in words and tables."""

    label_maps: NDArray[np.uint8]
    """Predicted classes, `[models, planes, resolution (b), resolution (a)]`."""
    planes: PlaneSet
    plane_classes: str
    """Which classes the three images of a plane are of: different, any, same."""
    class_names: tuple[str, ...]

    def __str__(self) -> str:
        return text_report(self, plane_classes=self.plane_classes)

    @property
    def names(self) -> tuple[str, ...]:
        """What the models are called."""
        return tuple(model.name for model in self.models)

    def figure(self, planes: int | Sequence[int] = 3, maps: NDArray[np.uint8] | None = None) -> Figure:
        """Regions of planes (rows) by model (columns), and where the models disagree.

        Args:
            planes: Which planes, or how many: the first one drawn, the one on which the models agree least, the one in
                the middle, then further ones of little agreement.
            maps: Label maps `[models, planes shown, rows, columns]` of a finer grid, by default those of the scores.

        Raises:
            UserError: if there are no such planes.
        """
        count = self.shape[0]
        shown = representative_planes(self.same_points, max(planes, 0)) if isinstance(planes, int) else list(planes)
        if not shown or not all(isinstance(plane, int | np.integer) and 0 <= plane < count for plane in shown):
            raise UserError(
                f"planes: {planes} is not allowed; allowed: how many, at least 1, or which of them, from 0 to "
                f"{count - 1}"
            )
        pictures = self.label_maps[:, shown] if maps is None else maps
        called = [f"plane {plane}\nagreement {self.same_points[:, plane].mean():.0%}" for plane in shown]
        seen = [SeenPlane(self.picture_of(plane), pictures[:, row], called[row]) for row, plane in enumerate(shown)]
        return regions_figure(self.names, seen)

    def matrix(self) -> Figure:
        """Reproducibility of every two models."""
        return matrix_figure(self)

    def by_plane(self) -> Figure:
        """How far the models agree from plane to plane."""
        return agreement_figure(self)

    def picture_of(self, plane: int) -> PlanePicture:
        """One plane's images, from the darkest pixel of the three (0) to the brightest (1), and where they lie."""
        anchors = self.planes.anchors[plane].double().numpy()
        low, high = anchors.min(), anchors.max()
        a, b = self.planes.coordinates[plane].numpy().T
        (left, *_, right), (bottom, *_, top) = self.planes.axes[plane].tolist()
        return PlanePicture(
            displayable((anchors - low) / (high - low)), a, b, (left, right, bottom, top), self.class_names
        )


def compare(
    models: Iterable[Classifier],
    images: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any],
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
        models: Each maps float images `[n, channels, height, width]` to scores `[n, classes]`; an nn.Module is
            evaluated in evaluation mode and left as it was. In the order old to new.
        images: `[n, channels, height, width]`, normalised as the models expect them.
        labels: `[n]`, the images' classes.
        names: What to call the models; "model 0", "model 1", ... by default.
        class_names: What to call the classes; their numbers by default.
        planes: How many planes; the interval over planes narrows with the square root of their number.
        resolution: Grid points on each side of a plane.
        margin: How far the grid reaches past the three images, as a share of their bounding box.
        classes: Whether a plane's three images are of different classes, of any, or of one.
        seed: Seed of the triplets.
        device: Where a function that is no module gets its images, "auto" for a GPU if there is one; a module gets
            them where its parameters are.
        batch_points: Points in a batch; by default what suits the device.

    Raises:
        UserError: if an argument is not usable; the message names it.
    """
    fields = {"planes": planes, "classes": classes, "resolution": resolution, "margin": margin, "seed": seed}
    config = validated(Planes, fields)
    place = device_called(device, "device")
    check_batch_points(batch_points, "batch_points")
    if not isinstance(models, Iterable):
        raise UserError(f"models: {type(models).__name__} is not allowed; allowed: two or more classifiers")
    models = list(models)
    called = [f"model {index}" for index in range(len(models))] if names is None else list(names)
    if len(called) != len(models) or len(set(called)) < len(called):
        raise UserError(f"names: {called} are not allowed; allowed: {len(models)} different ones")
    given = images_and_labels(images, labels)
    plane_set = planes_through(*given, config, len(models))
    each = (
        labelled(name, model, *given, plane_set, _device_of(model, place), batch_points=batch_points)
        for name, model in zip(called, models, strict=True)
    )
    return compared(each, given[1], plane_set, config, class_names)


@dataclass(frozen=True)
class Labelled:
    """What one model predicts."""

    name: str
    predicted: NDArray[np.int64]
    """`[images]`"""
    maps: NDArray[np.uint8]
    """`[planes, resolution (b), resolution (a)]`"""
    classes: int


def device_called(name: torch.device | str, option: str) -> torch.device:
    """The device of a name, "auto" being a GPU if there is one. UserError, naming `option`, if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = one_line(error).split(". ")[0]
        raise UserError(
            f"{option}: {name} is not allowed ({reason}); allowed: auto, cpu, or one that is there"
        ) from None
    return device


def check_batch_points(points: int | None, option: str) -> None:
    """UserError, naming `option`, for a number of images in a batch that is none."""
    if points is not None and (not isinstance(points, int) or points < 1):
        raise UserError(f"{option}: {points} is not allowed; allowed: an integer, at least 1, or unset")


def images_and_labels(images: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """Images float `[n, channels, height, width]` and labels int64 `[n]`, on the CPU; UserError otherwise."""
    image_tensor, label_tensor = tensor_of("images", images), tensor_of("labels", labels)
    if image_tensor.ndim != 4 or not image_tensor.is_floating_point():
        raise UserError(
            f"images: {image_tensor.dtype} of shape {tuple(image_tensor.shape)} is not allowed; allowed: "
            "floating-point [n, channels, height, width], normalised as the models expect them"
        )
    if label_tensor.shape != image_tensor.shape[:1] or label_tensor.is_floating_point():
        raise UserError(
            f"labels: {label_tensor.dtype} of shape {tuple(label_tensor.shape)} is not allowed; allowed: integers "
            f"({len(image_tensor)},), one an image"
        )
    if not image_tensor.isfinite().all():
        raise UserError("images: not all of their pixels are finite; allowed: finite numbers")
    return image_tensor.cpu(), label_tensor.long().cpu()


def planes_through(images: Tensor, labels: Tensor, config: PlaneSetConfig, models: int) -> PlaneSet:
    """The planes on which `models` models are compared. UserError if these are too few, or there are no such planes."""
    if models < 2:
        raise UserError(f"models: {models} given; allowed: two or more")
    points = config.count * config.resolution**2
    if points * models > MOST_LABELS:
        raise UserError(
            f"planes: {config.count:,} of {config.resolution} x {config.resolution} points for {models} models are "
            f"{points * models:,} labels; allowed: at most {MOST_LABELS:,}"
        )
    return draw_planes(images.float(), labels, config)


def labelled(
    name: str,
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    planes: PlaneSet,
    device: torch.device,
    *,
    batch_points: int | None = None,
    advance: Callable[[int], None] = lambda planes: None,
) -> Labelled:
    """The predictions of one model on images and planes; `advance` is told how many more planes are done."""
    predicted, classes = _predictions(name, model, images, device, batch_points)
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        outside = int(labels[(labels < 0) | (labels >= classes)][0])
        raise UserError(f"labels: {outside} is not a class of {name}, which has {classes}; allowed: 0 to {classes - 1}")
    maps = []
    for start in range(0, len(planes), CHUNK):
        some = planes.part(range(start, min(start + CHUNK, len(planes))))
        said = label_planes(model, some, device, batch_points=batch_points)
        if not said.numbers:
            raise UserError(f"{name}: some of its scores on the planes are NaN; allowed: numbers that can be compared")
        maps.append(said.labels.numpy())
        advance(len(some))
    return Labelled(name, predicted, np.concatenate(maps), classes)


def compared(
    models: Iterable[Labelled],
    labels: Tensor,
    planes: PlaneSet,
    config: PlaneSetConfig,
    class_names: Sequence[str] | None = None,
) -> Comparison:
    """The comparison of models that are labelled one after another. UserError if they have different classes."""
    each: list[Labelled] = []
    for model in models:
        each.append(model)
        if model.classes != each[0].classes:
            raise UserError(
                f"models: {each[0].name} has {each[0].classes} classes and {model.name} has {model.classes}; "
                "allowed: models of the same classes"
            )
    classes = each[0].classes
    if class_names is not None and len(class_names) != classes:
        raise UserError(f"class_names: {len(class_names)} given; allowed: {classes}, one for each class of the models")
    maps = np.stack([model.maps for model in each])
    names = [model.name for model in each]
    scores = scores_of(names, [model.predicted for model in each], maps, labels.numpy(), classes)
    return Comparison(
        **vars(scores),
        label_maps=maps,
        planes=planes,
        plane_classes=config.classes,
        class_names=tuple(map(str, range(classes) if class_names is None else class_names)),
    )


def _device_of(model: Classifier, otherwise: torch.device) -> torch.device:
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return otherwise if parameter is None else parameter.device


@torch.inference_mode()
def _predictions(
    name: str, model: Classifier, images: Tensor, device: torch.device, batch: int | None
) -> tuple[NDArray[np.int64], int]:
    """Predicted classes `[images]`, and how many classes there are; smaller batches where one does not fit."""
    size = batch or default_batch(device)
    predicted: list[Tensor] = []
    classes = start = 0
    with evaluating(model):
        while start < len(images):
            part = images[start : start + size]
            try:
                scores = _scores(name, model, part.to(device, dtype_of(model)))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size //= 2
                continue
            predicted.append(scores.argmax(1).cpu())
            classes = scores.shape[1]
            start += len(part)
    return torch.cat(predicted).numpy(), classes


def _scores(name: str, model: Classifier, images: Tensor) -> Tensor:
    """What a model makes of images. UserError unless it is one row of numbers an image."""
    try:
        scores = model(images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a user's own code may raise anything
        raise UserError(
            f"{name}: does not take images of shape {tuple(images.shape[1:])} (channels, height, width): "
            f"{one_line(error, with_type=True)}"
        ) from error
    if not isinstance(scores, Tensor):
        raise UserError(f"{name}: returns {type(scores).__name__}; allowed: a tensor of scores [n, classes]")
    check_scores(scores)
    if len(scores) != len(images) or scores.shape[1] < 2:
        raise UserError(
            f"{name}: returns scores of shape {tuple(scores.shape)} for {len(images)} images; allowed: one row an "
            "image, one column a class, at least 2"
        )
    if scores.isnan().any():
        raise UserError(f"{name}: some of its scores are NaN; allowed: numbers that can be compared")
    return scores

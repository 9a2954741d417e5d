"""Compare classifiers of your own in a notebook: no Ray, no MLflow, no files.

from dbviz_ray import compare
result = compare([model_a, model_b], images, labels)
print(result)
result.figure()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from dbviz_ray.architectures.outputs import NoScoresError, logits_of
from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.config.validation import validated
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.evaluation.label_maps import Classifier, check_scores, default_batch, dtype_of, evaluating, label_planes
from dbviz_ray.planes import PlaneSet, draw_planes
from dbviz_ray.training.allocations import within_memory

from ..figures.regions import PlanePicture, displayable
from .figures import agreement_figure, matrix_figure, regions_figure, representative_planes
from .images import images_and_labels
from .rendering import text_report
from .scores import Scores, scores_of

CHUNK = 10
"""Planes labelled between two reports of progress."""
STEADY_IMAGES, STEADY = 32, 0.002
"""How many images are scored again, and how far rounding may move their scores, as a share of the range of scores."""
MOST_PLANES = 1_000_000
MOST_LABELS = 4 * 10**9
"""One byte each, in memory."""


@dataclass(frozen=True)
class Comparison(Scores):
    """How far two or more classifiers are the same model; `print` shows it in words and tables."""

    label_maps: NDArray[np.uint8]
    """Predicted classes, `[models, planes, resolution (b), resolution (a)]`."""
    planes: PlaneSet
    plane_classes: str
    """Whether the three images of a plane have different classes, any, or the same."""
    class_names: tuple[str, ...]

    def __str__(self) -> str:
        return text_report(self, plane_classes=self.plane_classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models."""
        return tuple(model.name for model in self.models)

    def figure(self, planes: int | Sequence[int] = 3, maps: NDArray[np.uint8] | None = None) -> Figure:
        """Regions of planes (rows) by model (columns), and where the models disagree.

        Args:
            planes: Which planes, or how many of `representative_planes`.
            maps: Label maps `[models, planes shown, rows, columns]` of a finer grid; by default those that were scored.

        Raises:
            UserError: for planes that do not exist.
        """
        count = self.shape[0]
        shown = representative_planes(self.same_points, max(planes, 0)) if isinstance(planes, int) else list(planes)
        if not shown or not all(isinstance(plane, int | np.integer) and 0 <= plane < count for plane in shown):
            raise UserError(
                "planes", planes, allowed=f"how many, at least 1, or a list of numbers from 0 to {count - 1}"
            )
        pictures = self.label_maps[:, shown] if maps is None else maps
        called = [f"plane {plane}\nagreement {self.same_points[:, plane].mean():.0%}" for plane in shown]
        return regions_figure(self.names, [self.picture_of(plane) for plane in shown], pictures, called)

    def matrix(self) -> Figure:
        """Reproducibility of every two models."""
        return matrix_figure(self)

    def by_plane(self) -> Figure:
        """Agreement of the models, plane by plane."""
        return agreement_figure(self)

    def picture_of(self, plane: int) -> PlanePicture:
        """One plane's images, from the darkest pixel of the three (0) to the brightest (1), and their positions."""
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
        models: Each maps float images `[n, channels, height, width]` to scores `[n, classes]`, old models before new.
            An nn.Module is evaluated in evaluation mode and left as it was.
        images: `[n, channels, height, width]`, normalised as the models expect them.
        labels: `[n]`, the images' classes.
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
    given = images_and_labels(images, labels)
    drawn = planes_through(*given, config, len(models))
    networks = zip(called, models, strict=True)
    return compared(networks, *given, drawn, config, place, batch_points=batch_points, class_names=class_names)


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


def planes_through(images: Tensor, labels: Tensor, config: PlaneSetConfig, models: int) -> PlaneSet:
    """The planes on which `models` models are compared. UserError for fewer than two models, or impossible planes."""
    if models < 2:
        raise UserError("models", models, reason="given", allowed="two or more")
    if config.count > MOST_PLANES:
        raise UserError("planes", config.count, allowed=f"at most {MOST_PLANES}")
    predictions = config.count * config.resolution**2 * models
    if predictions > MOST_LABELS:
        reason = f"of {config.resolution} x {config.resolution} points for {models} models are {predictions:,} labels"
        raise UserError("planes", config.count, reason=reason, allowed=f"at most {MOST_LABELS:,} labels")
    return draw_planes(images.float(), labels, config)


def compared(
    networks: Iterable[tuple[str, Classifier]],
    images: Tensor,
    labels: Tensor,
    planes: PlaneSet,
    config: PlaneSetConfig,
    device: torch.device,
    *,
    batch_points: int | None = None,
    class_names: Sequence[str] | None = None,
    advance: Callable[[str, int], None] = lambda name, points: None,
) -> Comparison:
    """The comparison of networks that come one after another, so that each may be loaded when it is needed.

    `networks` are their names, all different, and the networks, old before new. `images` and `labels` are as from
    `images_and_labels`, the `planes` were drawn by `config`. `advance` is called now and then with a network's name and
    the number of its points that are labelled.
    """
    if batch_points is not None and (not isinstance(batch_points, int) or batch_points < 1):
        raise UserError("batch_points", batch_points, allowed="an integer, at least 1, or unset")
    names: list[str] = []
    predictions, label_maps = [], []
    classes = 0
    for name, network in networks:
        parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
        place = device if parameter is None else parameter.device
        predicted, own_classes = _predictions(name, network, images, place, batch_points)
        if names and own_classes != classes:
            reason = f"{names[0]} has {classes} classes and {name} has {own_classes}"
            raise UserError("models", reason=reason, allowed="models with the same classes")
        classes = own_classes
        if labels.max() >= classes:
            reason = f"is not a class of {name}, which has {classes}"
            raise UserError("labels", int(labels.max()), reason=reason, allowed=f"0 to {classes - 1}")
        names.append(name)
        predictions.append(predicted)
        maps = []
        for start in range(0, len(planes), CHUNK):
            some = planes.part(range(start, min(start + CHUNK, len(planes))))
            labelled = label_planes(network, some, place, batch_points=batch_points)
            if not labelled.numbers:
                reason = "some of its scores on the planes are NaN"
                raise UserError(name, reason=reason, allowed="numbers that can be compared")
            maps.append(labelled.labels.numpy())
            advance(name, (start + len(some)) * planes.resolution**2)
        label_maps.append(np.concatenate(maps))
    if class_names is not None and len(class_names) != classes:
        reason = f"{len(class_names)} given"
        raise UserError("class_names", reason=reason, allowed=f"{classes}, one for each class of the models")
    stacked = np.stack(label_maps)
    return Comparison(
        **vars(scores_of(names, predictions, stacked, labels.numpy(), classes)),
        label_maps=stacked,
        planes=planes,
        plane_classes=config.classes,
        class_names=tuple(map(str, range(classes) if class_names is None else class_names)),
    )


@torch.inference_mode()
def _predictions(
    name: str, network: Classifier, images: Tensor, device: torch.device, batch: int | None
) -> tuple[NDArray[np.int64], int]:
    """Predicted classes `[images]`, and the number of classes."""

    def attempt(size: int) -> list[tuple[Tensor, int]]:
        batches = (_scores(name, network, part.to(device, dtype_of(network), copy=True)) for part in images.split(size))
        return [(scores.argmax(1).cpu(), scores.shape[1]) for scores in batches]

    with evaluating(network):
        _check_steady(name, network, images[:STEADY_IMAGES].to(device, dtype_of(network)))
        predicted, classes = zip(*within_memory(attempt, batch or default_batch(device)), strict=True)
    return torch.cat(predicted).numpy(), classes[0]


def _check_steady(name: str, network: Classifier, images: Tensor) -> None:
    """UserError unless the scores of an image are the same in the next call, and in a batch with fewer others."""
    half = max(2, len(images) // 2)
    first, again, fewer = (_scores(name, network, some.clone()) for some in (images, images, images[:half]))
    allowed = float(STEADY * (first.amax() - first.amin()))
    for difference, reason in (
        (again - first, "its scores of the same images change from call to call; is dropout on?"),
        (fewer - first[:half], "its scores of an image depend on the batch; does it use batch statistics?"),
    ):
        if float(difference.abs().amax()) > allowed:
            raise UserError(name, reason=reason, allowed="a function of the image")


def _scores(name: str, network: Classifier, images: Tensor) -> Tensor:
    """A network's scores of images. UserError unless they are a row of numbers for each image."""
    try:
        scores = logits_of(network(images))
    except torch.OutOfMemoryError:
        raise
    except NoScoresError as error:
        raise UserError(name, reason=str(error), allowed="a tensor of scores [n, classes]") from None
    except Exception as error:  # a user's own code may raise anything
        told = one_line(error, with_type=True)
        reason = f"fails on images of shape {tuple(images.shape[1:])} (channels, height, width): {told}"
        raise UserError(name, reason=reason) from error
    try:
        check_scores(scores)
    except UserError as error:
        raise error.renamed(lambda _: name) from None
    if len(scores) != len(images) or scores.shape[1] < 2:
        reason = f"returns scores of shape {tuple(scores.shape)} for {len(images)} images"
        raise UserError(name, reason=reason, allowed="a row for each image, a column for each of at least 2 classes")
    if scores.isnan().any():
        raise UserError(name, reason="some of its scores are NaN", allowed="numbers that can be compared")
    return scores

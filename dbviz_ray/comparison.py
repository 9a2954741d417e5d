"""Compare classifiers of your own in a notebook: no Ray, no MLflow, no files.

from dbviz_ray import compare
result = compare([model_a, model_b], images, labels)
print(result)
result.figure()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from analysis.scores import agreement, region_counts
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from analysis.figures.regions import PlanePicture, class_legend, displayable, draw_regions
from analysis.intervals import Interval, mean_interval, pair_interval
from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.errors import UserError
from dbviz_ray.evaluation import (
    Classifier,
    check_scores,
    default_batch,
    dtype_of,
    evaluating,
    label_maps,
)
from dbviz_ray.planes import PlaneSet, draw_planes
from dbviz_ray.validation import validated


@dataclass(frozen=True)
class Comparison:
    """How far two or more classifiers are the same model."""

    reproducibility: Interval
    """Share of plane points on which two models agree, mean over pairs; with two models the interval is over planes."""
    pairs: NDArray[np.float64]
    """Reproducibility of every two models, `[models, models]`."""
    fragmentation: list[Interval]
    """Connected one-class regions a plane, for each model, with an interval over planes."""
    error: list[Interval]
    """Share of the given images that each model gets wrong, with an interval over images."""
    agreement_on_images: NDArray[np.float64]
    """Share of the given images on which every two models agree, `[models, models]`."""
    label_maps: NDArray[np.uint8]
    """Predicted classes, `[models, planes, resolution (b), resolution (a)]`."""
    planes: PlaneSet
    class_names: tuple[str, ...]

    def __str__(self) -> str:
        models = len(self.pairs)
        off_diagonal = self.agreement_on_images[np.triu_indices(models, 1)].mean()
        covers = "planes" if self.reproducibility.covers == "items" else "models and planes"
        lines = [
            f"reproducibility {self.reproducibility}  ({models} models, {self.reproducibility.items} planes; "
            f"95 % interval over {covers})",
            f"agreement on the images themselves {off_diagonal:.3f}",
        ]
        for index, (regions, error) in enumerate(zip(self.fragmentation, self.error, strict=True)):
            lines.append(f"model {index}: error {error}, regions a plane {regions}")
        return "\n".join(lines)

    def figure(self, planes: int = 3) -> Figure:
        """Regions of the first `planes` planes (rows) by model (columns), and where the models disagree."""
        rows, models = min(planes, len(self.planes)), len(self.label_maps)
        figure = Figure(figsize=(2.3 * (models + 1), 2.3 * rows + 0.9), layout="constrained")
        for plane, axes_row in enumerate(figure.subplots(rows, models + 1, squeeze=False)):
            picture = self._picture(plane)
            for model, axes in enumerate(axes_row[:-1]):
                draw_regions(axes, self.label_maps[model, plane], picture)
                axes.set_title(f"model {model}" if plane == 0 else "", fontsize=10)
            differ = (self.label_maps[:, plane] != self.label_maps[0, plane]).any(axis=0)
            axes_row[-1].imshow(differ, cmap="Greys", vmin=0, vmax=1, origin="lower", extent=picture.extent)
            axes_row[-1].set(xticks=[], yticks=[], title="models disagree" if plane == 0 else "")
            axes_row[-1].title.set_fontsize(10)
        class_legend(figure, self.class_names)
        return figure

    def _picture(self, plane: int) -> PlanePicture:
        anchors = self.planes.anchors[plane].double().numpy()
        low, high = anchors.min(), anchors.max()
        a, b = self.planes.coordinates[plane].numpy().T
        (left, *_, right), (bottom, *_, top) = self.planes.axes[plane].tolist()
        return PlanePicture(
            displayable((anchors - low) / (high - low)), a, b, (left, right, bottom, top), self.class_names
        )


def compare(
    models: Sequence[Classifier],
    images: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any],
    *,
    planes: int = 500,
    resolution: int = 50,
    margin: float = 0.1,
    classes: Literal["different", "any"] = "different",
    seed: int = 0,
    device: torch.device | str = "cpu",
    batch_points: int | None = None,
) -> Comparison:
    """Compare two or more classifiers on planes through triplets of images.

    Args:
        models: Each maps float images `[n, channels, height, width]` to scores `[n, classes]`; an nn.Module is
            evaluated in evaluation mode and left as it was.
        images: `[n, channels, height, width]`, normalised as the models expect them.
        labels: `[n]`, the images' classes.
        planes: How many planes; the interval over planes narrows with the square root of their number.
        resolution: Grid points on each side of a plane.
        margin: How far the grid reaches past the three images, as a share of their bounding box.
        classes: Whether a plane's three images must be of different classes.
        seed: Seed of the triplets.
        device: Where a function that is no module gets its images; a module gets them where its parameters are.
        batch_points: Points in a batch; by default what suits the device.

    Raises:
        UserError: if an argument is not usable; the message names it.
    """
    image_tensor, label_tensor = torch.as_tensor(images), torch.as_tensor(labels).long()
    _check(models, image_tensor, label_tensor)
    fields = {"count": planes, "classes": classes, "resolution": resolution, "margin": margin, "seed": seed}
    try:
        config = validated(PlaneSetConfig, fields)
    except UserError as error:
        raise UserError(str(error).replace("count:", "planes:", 1)) from None
    plane_set = draw_planes(image_tensor.float().cpu(), label_tensor.cpu(), config)
    places = [_device_of(model, torch.device(device)) for model in models]
    each = list(zip(models, places, strict=True))
    predicted = np.stack([_predictions(model, image_tensor, place, batch_points) for model, place in each])
    maps = np.stack([label_maps(model, plane_set, place, batch_points=batch_points).numpy() for model, place in each])
    wrong = (predicted != label_tensor.cpu().numpy()).astype(float)
    same_points = agreement(maps.reshape(*maps.shape[:2], -1))
    class_count = int(max(maps.max(), predicted.max(), label_tensor.max())) + 1
    return Comparison(
        reproducibility=pair_interval(same_points),
        pairs=same_points.mean(axis=0),
        fragmentation=[mean_interval(region_counts(m)[None].astype(float), (1, np.inf)) for m in maps],
        error=[mean_interval(w[None], (0, 1)) for w in wrong],
        agreement_on_images=agreement(predicted[:, None].astype(np.uint8))[0],
        label_maps=maps,
        planes=plane_set,
        class_names=tuple(str(label) for label in range(class_count)),
    )


def _check(models: Sequence[Classifier], images: Tensor, labels: Tensor) -> None:
    if len(models) < 2:
        raise UserError(f"models: {len(models)} given; allowed: two or more")
    if images.ndim != 4 or not images.is_floating_point():
        raise UserError(
            f"images: {images.dtype} of shape {tuple(images.shape)} is not allowed; allowed: floating-point "
            "[n, channels, height, width], normalised as the models expect them"
        )
    if labels.shape != images.shape[:1]:
        raise UserError(f"labels: shape {tuple(labels.shape)} is not allowed; allowed: ({len(images)},), one an image")


def _device_of(model: Classifier, otherwise: torch.device) -> torch.device:
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return otherwise if parameter is None else parameter.device


@torch.inference_mode()
def _predictions(model: Classifier, images: Tensor, device: torch.device, batch: int | None) -> NDArray[np.int64]:
    parts = images.split(batch or default_batch(device))
    with evaluating(model):
        scores = [model(part.to(device, dtype_of(model))) for part in parts]
    check_scores(scores[0])
    return torch.cat([score.argmax(1) for score in scores]).cpu().numpy()

"""Plane sets: which three images span each plane, and the grid of points on it. Margins: lines through images."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dbviz_ray.config.model import ModelConfig
from dbviz_ray.config.training import AdversaryConfig
from dbviz_ray.config.validation import Count, Frozen, Index, NonNegative, Positive, Seed, Several, excluded
from dbviz_ray.errors import FieldError


def _triplets_of_distinct_images(triplets: Sequence[tuple[int, int, int]]) -> Sequence[tuple[int, int, int]]:
    doubled = next((triplet for triplet in triplets if len(set(triplet)) < 3), None)
    if doubled is not None:
        raise FieldError("", list(doubled), allowed="three different images")
    if len({frozenset(triplet) for triplet in triplets}) < len(triplets):
        raise FieldError(reason="repeats three images", allowed="every three images once")
    return triplets


class PlaneSetConfig(Frozen):
    """Triplets of images, and the grid of points on the plane through each triplet.

    The natural images depend only on `images`, `classes`, `labels`, `seed` and the number of the plane: sets that
    differ in `off_manifold` use the same images, or images made from them.
    """

    images: Literal["test", "train"] = Field("test", description="The split the three images come from.")
    classes: Literal["different", "any", "same"] = Field(
        "different",
        description="different: three different classes; any: no condition; same: one class, each class in turn. "
        "These are the true classes.",
    )
    labels: Literal["any", "correct", "mislabelled", "mixed"] = Field(
        "any",
        description="Only for training images. correct: correctly labelled in every model of the sweep; mislabelled: "
        "in the models of the largest label noise; mixed: at least one of each. mislabelled and mixed need label noise "
        "with one label_noise_seed for all models.",
    )
    off_manifold: Literal["none", "shuffled", "uniform_noise", "adversarial"] = Field(
        "none",
        description="shuffled: the pixels of an image in random order, the channels of a pixel together; "
        "uniform_noise: pixels drawn uniformly from their range; adversarial: an image, an adversarial example of "
        "it, and the image moved equally far in a random direction.",
    )
    off_manifold_images: Literal[2, 3] = Field(
        3, description="Only for shuffled and uniform_noise: how many of the three images; with 2 the first is natural."
    )
    adversary: AdversaryConfig | None = Field(
        None, description="Only for adversarial: the attack, away from the predicted class."
    )
    attacked: str | None = Field(
        None, description="Only for adversarial: model_id of the attacked model; the first of the sweep if unset."
    )
    indices: (
        Annotated[
            tuple[tuple[Index, Index, Index], ...], Field(min_length=2), AfterValidator(_triplets_of_distinct_images)
        ]
        | None
    ) = Field(None, description="Triplets of indices into the split, instead of random ones.")
    count: Several = Field(500, description="Planes in the set.")
    resolution: Several = Field(50, description="Grid points on each side.")
    margin: NonNegative = Field(
        0.1, description="How far the grid extends beyond the images, as a share of their bounding box."
    )
    seed: Seed = Field(0, description="Seed of the triplets and of the off-manifold images.")
    probabilities: Annotated[bool, Field(strict=True)] = Field(
        False, description="Also store class probabilities, for soft agreement."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16 is autocast: up to twice as fast for convolutional networks, but near a boundary it may "
        "give another class. Margins and pictures stay exact.",
    )

    @property
    def through_test_images(self) -> bool:
        """Whether the three images of every plane are test images as they are."""
        return self.images == "test" and self.off_manifold == "none"

    @property
    def images_used(self) -> int:
        """Number of images of the split that a plane depends on."""
        if self.off_manifold == "adversarial":
            return 1
        return 3 - self.off_manifold_images if self.off_manifold == "uniform_noise" else 3

    @model_validator(mode="before")
    @classmethod
    def _complete_indices(cls, fields: Any) -> Any:
        """Given triplets set `count`, and allow any classes."""
        indices = fields.get("indices") if isinstance(fields, Mapping) else None
        if isinstance(indices, list | tuple) and len(indices) > 1:
            return {"count": len(indices), "classes": "any", **fields}
        return fields

    @model_validator(mode="after")
    def _fields_belong_together(self) -> Self:
        kind = f"off_manifold={self.off_manifold}"
        if self.labels != "any" and self.images == "test":
            raise excluded("labels", self.labels, "images=test, whose labels are all correct", "any, or images=train")
        if self.off_manifold_images != 3 and self.off_manifold not in ("shuffled", "uniform_noise"):
            raise excluded("off_manifold_images", self.off_manifold_images, kind, "unset, or shuffled or uniform_noise")
        for field in ("adversary", "attacked"):
            if getattr(self, field) is not None and self.off_manifold != "adversarial":
                raise excluded(field, getattr(self, field), kind, "unset, or off_manifold=adversarial")
        if self.images_used < 3:  # a condition may need more natural images than there are
            there = f"{kind}, where a plane depends on {self.images_used} of the images"
            if self.indices is not None:
                raise excluded("indices", [list(triplet) for triplet in self.indices], there, "unset")
            if self.labels == "mixed":
                raise excluded("labels", "mixed", there, "any, correct or mislabelled" if self.images_used else "any")
            if not self.images_used and self.labels != "any":
                raise excluded("labels", self.labels, there, "any")
            if not self.images_used and self.classes == "same":
                raise excluded("classes", "same", there, "unset")
        if self.indices is not None:
            for field, allowed in (("count", len(self.indices)), ("classes", "any"), ("labels", "any")):
                if getattr(self, field) != allowed:
                    raise excluded(field, getattr(self, field), f"{len(self.indices)} indices", f"unset, or {allowed}")
        return self


def largest_noises(models: Iterable[ModelConfig]) -> dict[int, float]:
    """The largest label noise of `models` by label_noise_seed; it falsifies all labels that a smaller one does."""
    noisy = sorted((model.label_noise, model.seeds.label_noise) for model in models if model.label_noise)
    return {seed: noise for noise, seed in noisy}


def check_plane_sets(plane_sets: Mapping[str, PlaneSetConfig], models: Sequence[ModelConfig]) -> None:
    """FieldError if a plane set needs something that a sweep of these models lacks."""
    model_ids = {model.model_id for model in models}
    for name, planes in plane_sets.items():
        if planes.attacked is not None and planes.attacked not in model_ids:
            allowed = f"model_id of a model of the sweep, such as {models[0].model_id}"
            raise FieldError(f"planes.{name}.attacked", planes.attacked, allowed=allowed)
        if planes.labels in ("mislabelled", "mixed"):
            seeds = sorted(largest_noises(models))
            if not seeds:
                allowed = "any, correct, or a grid.label_noise above 0"
                raise excluded(f"planes.{name}.labels", planes.labels, "label_noise=0 in all models", allowed)
            if len(seeds) > 1:
                listed = ", ".join(map(str, seeds))
                reason = f"needs the same mislabelled images in all models, and label_noise_seed is {listed}"
                allowed = "any, correct, or grid.label_noise_seed with one seed"
                raise FieldError(f"planes.{name}.labels", planes.labels, reason=reason, allowed=allowed)


class MarginsConfig(Frozen):
    """How to search for the first change of class along lines from images: which images, which lines, how finely."""

    split: Literal["train", "test"] = Field("train", description="The split of the images at both ends of a line.")
    images: Count = Field(1000, description="Images at which lines start; a smaller split is used whole.")
    directions: Count = Field(10, description="Lines from each image, each towards another image.")
    scan: Literal["even", "paper"] = Field(
        "even",
        description="even: `steps` points up to `reach`; a line without a change of class counts with its reach. "
        "paper: the 199 points of the paper's code, which go on beyond the other image: 0.01 apart (L2 norm of "
        "normalised pixels) up to 0.11, then ever wider up to 2,251.51; lines without a change do not count.",
    )
    steps: Count = Field(50, description="scan=even only: points of the coarse scan along a line.")
    reach: Positive = Field(1.0, description="scan=even only: length of the scan, in distances to the other image.")
    tolerance: Positive = Field(
        0.01, description="Bisection stops at an interval of this length (L2 norm of normalised pixels)."
    )
    seed: Seed = Field(0, description="Seed of the lines.")

    @model_validator(mode="after")
    def _fields_belong_together(self) -> Self:
        for field, default in (("steps", 50), ("reach", 1)):
            if self.scan == "paper" and getattr(self, field) != default:
                raise excluded(field, getattr(self, field), "scan=paper", "unset, or scan=even")
        return self

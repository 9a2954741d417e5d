"""How far images are from the decision boundary, and how finely that is looked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dbviz_ray.config.types import Count, Frozen, Positive, Seed


class MarginsConfig(Frozen):
    """From which images, along which lines, how far and how finely the first change of the class is looked for."""

    split: Literal["train", "test"] = Field("train", description="Where the images come from, at both ends of a line.")
    images: Count = Field(1000, description="Images that lines start at; a split that has fewer is taken whole.")
    directions: Count = Field(10, description="Lines from each image, towards as many other images.")
    steps: Count = Field(50, description="Points of the coarse scan along a line.")
    reach: Positive = Field(1.0, description="How far the scan goes, in distances to the other image.")
    tolerance: Positive = Field(
        0.01, description="A distance is bisected to an interval of this length, in L2 of normalised pixels."
    )
    seed: Seed = Field(0, description="Seed of the lines' stream.")

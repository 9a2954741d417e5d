"""Class colours differ as much as their docstring says, for colour-blind people too."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from dbviz_ray.analysis.figures.style import CLASS_COLOURS

SEEN_BY = {
    "everybody": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""Machado, Oliveira and Fernandes 2009, severity 1, on linear sRGB."""


@pytest.mark.parametrize(("people", "least"), zip(SEEN_BY, (28.4, 17.5, 17.4, 14.4), strict=True))
def test_any_two_classes_are_told_apart(people, least):
    srgb = np.array([to_rgb(colour) for colour in CLASS_COLOURS])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(SEEN_BY[people]), 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    differences = deltaE_ciede2000(lab[:, None], lab[None])
    assert differences[~np.eye(10, dtype=bool)].min() == pytest.approx(least, abs=0.05)

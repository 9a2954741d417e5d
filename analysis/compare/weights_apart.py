"""How far the weights of two files are apart: equal, by rounding alone, or by more."""

from pathlib import Path

import torch

from .checkpoints import read_weights

ROUNDINGS = 64
"""Differences up to so many steps of a tensor's type, at its largest weight, are called rounding."""


def weights_apart(one: Path, other: Path) -> str:
    """The largest difference in words. UserError if a file holds no weights."""
    first, second = read_weights(one), read_weights(other)
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        return "Their tensors differ in name or shape."
    steps, largest, name = max((*_apart(first[name], second[name]), name) for name in first)
    if largest == 0:
        return f"The weights in {one.name} are equal to the bit; only other content differs."
    told = f"The weights in {one.name} differ by up to {largest:.2g} ({name})"
    return f"{told}, which is rounding alone." if steps <= ROUNDINGS else f"{told}, which is more than rounding."


def _apart(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """The largest difference of two tensors: in steps of their type, and as it is."""
    if not one.numel():
        return 0.0, 0.0
    difference = float((one.double() - other.double()).abs().nan_to_num(nan=torch.inf).max())
    step = torch.finfo(one.dtype).eps * float(one.abs().max()) if one.is_floating_point() else 1 / (2 * ROUNDINGS)
    return difference / step if difference else 0.0, difference

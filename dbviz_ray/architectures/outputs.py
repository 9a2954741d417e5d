"""The class scores in what a network returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class NoScoresError(TypeError):
    """A network returns something that holds no class scores."""


SCORES = ("logits", "out", "scores")
"""Names that libraries give to the class scores in a dictionary."""


def logits_of(output: Any) -> Tensor:
    """The tensor of class scores: the output itself, its first part, its field `logits` or its entry of such a name.

    A numpy array counts as a tensor. NoScoresError if there is none.
    """
    if isinstance(getattr(output, "logits", None), Tensor):
        output = output.logits
    elif isinstance(output, Mapping):
        output = next((output[name] for name in SCORES if name in output), output)
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if isinstance(output, np.ndarray):
        output = torch.from_numpy(output)
    if not isinstance(output, Tensor):
        raise NoScoresError(f"returns {type(output).__name__}, which holds no tensor of class scores")
    return output

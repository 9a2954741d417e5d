"""The class scores in what a network returns."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dbviz_ray.errors import UserError


class NoScoresError(TypeError):
    """A network returns something that holds no class scores."""


SCORES = ("logits", "out", "scores")
"""Names that libraries give to the class scores in a dictionary."""


def logits_of(output: Any) -> Tensor:
    """The class scores `[n, classes]` in an output: itself, its first part, its field `logits` or such an entry.

    A numpy array counts as a tensor. One score z for each image, `[n]` or `[n, 1]`, is the logit of class 1: the scores
    are 0 and z. NoScoresError if there are none.
    """
    scores = _scores_in(output)
    single = single_score(scores)
    return scores if single is None else torch.stack([torch.zeros_like(single), single], dim=1)


def single_score(output: Any) -> Tensor | None:
    """The score of each image, `[n]`, if an output holds no more than that; one image's may have no dimension."""
    scores = _scores_in(output)
    if scores.ndim > 1 and scores.shape[1:] != (1,):
        return None
    if not scores.is_floating_point():
        raise NoScoresError(f"returns one number of type {scores.dtype} for each image, which is no score")
    return scores.reshape(-1)


class ProbabilityOfOne(nn.Module):
    """A network whose one score is the probability of class 1, as one with the probabilities of both classes."""

    def __init__(self, name: str, network: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.name, self.network = name, network

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities `[n, 2]`. UserError for what is none."""
        score = single_score(self.network(images))
        if score is None or not ((score >= 0) & (score <= 1)).all():
            reason = "its one score lies within 0 and 1 on all images, but not on all planes"
            raise UserError(self.name, reason=reason, allowed="the logit of class 1, or two scores")
        return torch.stack([1 - score, score], dim=1)


def _scores_in(output: Any) -> Tensor:
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
    if output.is_complex() or output.layout != torch.strided:
        raise NoScoresError(f"returns {output.dtype} numbers, {output.layout}, which are no class scores")
    return output

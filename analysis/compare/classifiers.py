"""What `compare` takes as a model, as a classifier: a function from images `[n, channels, height, width]` to scores."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.errors import UserError

TRIED, ROUNDING = 32, 1e-4
"""Images that a function gets both as a tensor and as an array, and how far the scores may differ, of their range."""
FORMS = "an nn.Module, a fitted scikit-learn classifier, or a function from images to scores"


def classifier_of(name: str, model: Any, class_names: Sequence[str] | None = None) -> nn.Module:
    """A user's object as a classifier; a module stays itself.

    `class_names` places the classes of a scikit-learn estimator that are not numbers. UserError about `name` for an
    object that is none, about `class_names` if they lack a class.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, type):
        reason = f"is the class {model.__name__}; make an object of it"
    elif isinstance(model, str | os.PathLike):
        reason = f"is the path {model}; dbviz-ray score compares files"
    elif isinstance(model, Mapping):
        reason = "is a dictionary; load a state dict into its network"
    elif hasattr(model, "predict") and hasattr(model, "classes_"):
        return Called(_estimator(name, model, class_names), name, array_of)
    elif callable(model):
        return Called(model, name)
    elif hasattr(model, "predict_proba"):
        return Called(lambda images: model.predict_proba(_arranged(model, images)), name, array_of)
    else:
        reason = f"is {type(model).__name__}" + ", which has no classes_; is it fitted?" * hasattr(model, "predict")
    raise UserError(name, reason=reason, allowed=FORMS)


class Called(nn.Module):
    """Calls a function with tensors, or with numpy arrays if it fails for tensors."""

    def __init__(self, function: Callable[[Any], Any], name: str, form: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.function, self.name, self.form = function, name, form

    def forward(self, images: Tensor) -> Any:
        """What the function returns. UserError if tensors and arrays give different scores."""
        if self.form is None:
            self.form = self._tried(images[:TRIED])
        return _readable(self.function(self.form(images)), images.device)

    def _tried(self, images: Tensor) -> Callable[[Tensor], Any]:
        found = {}
        for form in (torch.clone, array_of):
            with suppress(Exception):  # where both fail, the next call tells why
                found[form] = logits_of(_readable(self.function(form(images)), images.device)).double()
        if len(found) == 2:
            one, other = found.values()
            if one.shape != other.shape or (one - other).abs().amax() > ROUNDING * (one.amax() - one.amin()):
                reason = "gives other scores for a tensor of images than for the same numpy array"
                raise UserError(self.name, reason=reason, allowed="a function that converts its images itself")
        return next(iter(found), torch.clone)


def array_of(images: Tensor) -> NDArray[Any]:
    """A copy of images for a function that takes numpy arrays."""
    return images.numpy(force=True).copy()


def _readable(output: Any, device: torch.device) -> Any:
    """Arrays of jax, tensorflow and others as tensors."""
    if isinstance(output, Tensor) or not hasattr(output, "__array__"):
        return output
    array = np.asarray(output)
    return torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.float32)).to(device)


def _estimator(name: str, model: Any, class_names: Sequence[str] | None) -> Callable[[NDArray[Any]], Tensor]:
    """The predictions of a scikit-learn classifier as scores of 0 and 1.

    The column of a class is its number, or its place in `class_names`.
    """
    if any(np.ndim(value) for value in model.classes_):
        raise UserError(name, reason="predicts several things at once", allowed="one class for each image")
    classes = np.asarray(model.classes_).tolist()
    columns = {value: int(value) for value in classes if not isinstance(value, str) and value >= 0 and value % 1 == 0}
    if len(columns) < len(classes):
        places = {called: place for place, called in enumerate(class_names or ())}
        columns = {value: places[str(value)] for value in classes if str(value) in places}
    if len(columns) < len(classes):
        reason = f"lack classes of {name}"
        raise UserError("class_names", reason=reason, allowed=f"names that include {', '.join(map(str, classes))}")
    count = max(*columns.values(), len(class_names or ()) - 1) + 1

    def scores(images: NDArray[Any]) -> Tensor:
        predicted = np.asarray(model.predict(_arranged(model, images))).reshape(len(images))
        return one_hot(torch.tensor([columns[value] for value in predicted.tolist()]), count).float()

    return scores


def _arranged(model: Any, images: NDArray[Any]) -> NDArray[Any]:
    """The images as an estimator was fitted to them: as they are, or a row each."""
    features = getattr(model, "n_features_in_", None)
    if features in (None, images.shape[1]):
        return images
    if features != images[0].size:
        raise UserError("images", images.shape[1:], reason="do not fit a model", allowed=f"{features} numbers each")
    return images.reshape(len(images), -1)

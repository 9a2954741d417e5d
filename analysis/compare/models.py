"""The models that a command line names: checkpoints, and what builds the network of each."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config.registry import ARCHITECTURES, TIMM, architecture_builder, check_architecture, standard_width
from dbviz_ray.errors import FieldError, UserError, one_line
from dbviz_ray.evaluation.run_models import RunModel, find_run_model
from dbviz_ray.formatting import names_of_paths

from .checkpoints import files_of, load_weights, read_weights
from .images import GivenImages
from .ready import MLFLOW, library_of, ready_network

if TYPE_CHECKING:
    from dbviz_ray.score import Request

SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt", ".tar", ".onnx")


@dataclass(frozen=True)
class Builder:
    """Builds the network of a checkpoint."""

    model: str
    """A registered architecture, one of timm, `package.module:function`, or what `library_of` a checkpoint says."""
    width: int | None
    options: Mapping[str, Any]

    @property
    def is_known(self) -> bool:
        """Whether the network is one of ours or of timm: these are built for the images."""
        return self.model in ARCHITECTURES or self.model.startswith(TIMM)

    def network(self, image_shape: tuple[int, int, int], classes: int | None) -> nn.Module:
        """The network without its weights; torch's global random state stays as it was.

        A user's function gets the options, and `width`, `image_shape` and `classes` where it has such parameters
        without a default. UserError if it fails.
        """
        try:
            with torch.random.fork_rng(devices=[]):
                if not self.is_known:
                    return self._called(image_shape, classes)
                options = dict(self.options)
                classes = options.pop("classes", classes)
                if classes is None:
                    reason = "needs the number of classes, which images without labels do not tell"
                    raise UserError("models", self.model, reason=reason, allowed="--model-option classes=N")
                width = self.width or standard_width(self.model)
                return initialised_network(self.model, width, image_shape, classes, options=options)
        except UserError:
            raise
        except Exception as error:  # a user's own code may raise anything
            told = one_line(error, with_type=not isinstance(error, ValueError))
            raise UserError("models", self.model, reason=f"cannot be built: {told}") from error

    def _called(self, image_shape: tuple[int, int, int], classes: int | None) -> nn.Module:
        try:
            function = architecture_builder(self.model)
        except UserError as error:
            raise error.renamed(lambda _: "models") from None
        parameters = inspect.signature(function).parameters
        required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
        known = {"image_shape": image_shape, "classes": classes}
        filled = {name: value for name, value in known.items() if name in required and value is not None}
        if self.width:
            if "width" not in parameters:
                raise UserError("widths", self.width, reason=f"is not allowed: {self.model} has no parameter width")
            filled["width"] = self.width
        network = function(**(filled | dict(self.options)))
        if not isinstance(network, nn.Module):
            reason = f"returned {type(network).__name__}"
            raise UserError("models", self.model, reason=reason, allowed="a torch.nn.Module")
        return network


@dataclass(frozen=True)
class ModelSource:
    """One model to compare."""

    name: str
    checkpoint: str
    built_by: RunModel | Builder
    weights_key: str | None

    def network(self, data: GivenImages) -> nn.Module:
        """The model for these images, on the CPU, in evaluation mode. UserError if the checkpoint does not fit."""
        if isinstance(self.built_by, RunModel):
            network = self.built_by.network()
        elif self.built_by.model == library_of(self.checkpoint, has_builder=False):
            names = data.class_names or tuple(map(str, range(data.classes or 0)))
            network = ready_network(self.built_by.model, self.checkpoint, self.built_by.options, names)
        else:
            weights = read_weights(self.checkpoint, self.weights_key)
            _, channels, height, width = data.images.shape
            shape = channels, height, width
            network = self.built_by.network(shape, data.classes)
            built = f"built for images {shape} of {data.classes} classes" if self.built_by.is_known else ""
            load_weights(network, weights, self.checkpoint, built)
        network.eval()  # a user's own may return nothing
        return network

    def facts(self) -> dict[str, Any]:
        """Its source, as JSON holds it."""
        if isinstance(self.built_by, RunModel):
            contents = [self.built_by.store.read(self.built_by.weights_file)]
            built: dict[str, Any] = {"model_id": self.built_by.config.model_id, "epoch": self.built_by.epoch}
        else:
            files = files_of(self.checkpoint) if Path(self.checkpoint).exists() else []
            contents, built = [file.read_bytes() for file in files], vars(self.built_by)
        hashed = hashlib.sha256(b"".join(contents)).hexdigest() if contents else "unknown"
        size = sum(map(len, contents))
        return {"name": self.name, "checkpoint": self.checkpoint, "sha256": hashed, "bytes": size, **built}


def find_models(request: Request) -> list[ModelSource]:
    """The models that a command line names; UserError about the field of `request` that cannot be used."""
    checkpoints = request.checkpoints
    if len(checkpoints) < 2:
        raise UserError("checkpoints", len(checkpoints), reason="given", allowed="two or more")
    names = _checked_names(request.names, len(checkpoints)) if request.names else names_of_paths(checkpoints, SUFFIXES)
    found: list[RunModel | Builder | None] = [find_run_model(checkpoint, request.trusted) for checkpoint in checkpoints]
    for place, checkpoint in enumerate(checkpoints):
        if found[place] is None and (library := library_of(checkpoint, bool(request.models))):
            if library == MLFLOW and checkpoint not in request.trusted:
                reason = "may run code that was stored with it, which --trust must allow"
                raise UserError("checkpoints", checkpoint, reason=reason, allowed=f"--trust {checkpoint}")
            found[place] = Builder(library, None, request.model_options)
    files = [checkpoint for checkpoint, built in zip(checkpoints, found, strict=True) if built is None]
    for file in files:
        if not Path(file).exists():
            allowed = "a weight file, or models/<model_id> of a run"
            raise UserError("checkpoints", file, reason="does not exist", allowed=allowed)
    for model in request.models:
        try:
            check_architecture(model)
        except FieldError as error:
            raise UserError.of([error.about("models", model)]) from None
    if files and not request.models:
        allowed = "a registered architecture or package.module:function"
        raise UserError("models", reason=f"required for {files[0]}", allowed=allowed)
    unused = ("models", "widths", "weights_key") if not files else ()
    is_called = any(isinstance(one, Builder) and one.model == own for own, one in zip(checkpoints, found, strict=True))
    for field in (*unused, *(("model_options",) if unused and not is_called else ())):
        if given := getattr(request, field):
            reason = f"is not allowed: {checkpoints[0]} is loaded with its network"
            value = given if isinstance(given, str) else list(given)
            raise UserError(field, value, reason=reason, allowed="weight files")
    models, widths = (_for_each(field, getattr(request, field), len(files)) for field in ("models", "widths"))
    of_files = iter([Builder(*each, request.model_options) for each in zip(models, widths, strict=True)])
    return [
        ModelSource(name, checkpoint, built or next(of_files), request.weights_key)
        for name, checkpoint, built in zip(names, checkpoints, found, strict=True)
    ]


def _checked_names(names: Sequence[str], models: int) -> list[str]:
    unusable = next((name for name in names if not name.strip() or not name.isprintable()), None)
    if unusable is not None:
        raise UserError("names", unusable, allowed="one line that is not empty")
    if len(names) != models or len(set(names)) < models:
        raise UserError("names", list(names), allowed=f"{models} different ones, one for each checkpoint")
    return list(names)


def _for_each(field: str, values: Sequence[Any], files: int) -> list[Any]:
    """One value for each file; None for each if there are no values."""
    if len(values) not in (0, 1, files):
        reason = f"given for {files} checkpoints"
        raise UserError(field, len(values), reason=reason, allowed="one for all, or one for each")
    return list(values or [None]) * (files if len(values) < 2 else 1)

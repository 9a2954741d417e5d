"""A user's own models as a command line names them: checkpoints, and what builds the network that takes each."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import nn

from dbviz_ray.architectures import build_network
from dbviz_ray.config.registry import ARCHITECTURES, TIMM, architecture_builder, check_architecture, standard_width
from dbviz_ray.errors import FieldError, UserError, one_line
from dbviz_ray.evaluation.run_models import RunModel, find_run_model

from .checkpoints import load_weights, read_weights

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")


@dataclass(frozen=True)
class Builder:
    """What builds the network of a checkpoint."""

    model: str
    """A registered architecture, timm's, or `package.module:function`."""
    width: int | None
    options: Mapping[str, Any]

    @property
    def is_known(self) -> bool:
        """Whether the network is one of ours or timm's, which are built for the images."""
        return self.model in ARCHITECTURES or self.model.startswith(TIMM)

    def network(self, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The network, its weights not yet loaded; torch's global random stream is left as it was.

        A user's function is called with the options alone; those of its parameters `width`, `image_shape` and
        `classes` that have no default are filled in.
        """
        try:
            with torch.random.fork_rng(devices=[]):
                if self.is_known:
                    width = self.width or standard_width(self.model)
                    return build_network(self.model, width, image_shape, classes, self.options)
                return self._called(image_shape, classes)
        except UserError:
            raise
        except Exception as error:  # a user's own code may raise anything
            told = one_line(error, with_type=not isinstance(error, ValueError))
            raise UserError(f"--model: {self.model} cannot be built: {told}") from error

    def _called(self, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        try:
            function = architecture_builder(self.model)
        except UserError as error:
            raise UserError(f"--model: {error}") from None
        known = {"image_shape": image_shape, "classes": classes} | ({"width": self.width} if self.width else {})
        parameters = inspect.signature(function).parameters
        required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
        if self.width and "width" not in parameters:
            raise UserError(f"--width: {self.width} is not allowed: {self.model} has no parameter width")
        filled = {name: value for name, value in known.items() if name in required or name == "width"}
        network = function(**(filled | dict(self.options)))
        if not isinstance(network, nn.Module):
            raise UserError(f"--model: {self.model} returned {type(network).__name__}; allowed: a torch.nn.Module")
        return network


@dataclass(frozen=True)
class ModelSource:
    """One model to be compared."""

    name: str
    checkpoint: str
    origin: RunModel | Builder
    weights_key: str | None

    def network(self, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The model on the CPU, in evaluation mode. UserError if the checkpoint does not fit."""
        if isinstance(self.origin, RunModel):
            return self.origin.network()
        weights = read_weights(self.checkpoint, self.weights_key)
        network = self.origin.network(image_shape, classes)
        try:
            load_weights(network, weights, self.checkpoint)
        except UserError as error:
            built = f" (built for images {image_shape} of {classes} classes)" if self.origin.is_known else ""
            raise UserError(f"{error}{built}") from None
        return network.eval()

    def facts(self) -> dict[str, Any]:
        """Where it comes from, as JSON can hold it."""
        if isinstance(self.origin, RunModel):
            content = self.origin.store.read(self.origin.weights_file)
            built: dict[str, Any] = {"model_id": self.origin.config.model_id, "epoch": self.origin.epoch}
        else:
            content = Path(self.checkpoint).read_bytes()
            built = {"model": self.origin.model, "width": self.origin.width, "options": dict(self.origin.options)}
        hashed = hashlib.sha256(content).hexdigest()
        return {"name": self.name, "checkpoint": self.checkpoint, "sha256": hashed, "bytes": len(content), **built}


def find_models(
    checkpoints: Sequence[str],
    models: Sequence[str],
    widths: Sequence[int],
    options: Mapping[str, Any],
    names: Sequence[str],
    weights_key: str | None,
    trusted: Sequence[str] = (),
) -> list[ModelSource]:
    """The models that a command line names.

    Args:
        checkpoints: Files, or folders of a run's models.
        models: What builds the networks of the files: one for all or one for each; and likewise the `widths`.
        options: For every builder.
        names: What to call the models; if there are none, the shortest ends of their paths that tell them apart.
        weights_key: See `read_weights`.
        trusted: Code that models of runs may name (see `find_run_model`).
    """
    if len(checkpoints) < 2:
        raise UserError(f"CHECKPOINT: {len(checkpoints)} given; allowed: two or more")
    called = _checked_names(names, len(checkpoints)) if names else short_names(checkpoints)
    found = [find_run_model(checkpoint, trusted) for checkpoint in checkpoints]
    files = [checkpoint for checkpoint, run in zip(checkpoints, found, strict=True) if run is None]
    for file in files:
        if not Path(file).exists():
            raise UserError(f"CHECKPOINT: {file} is not there; allowed: a weight file, or models/<model_id> of a run")
    for model in models:
        try:
            check_architecture(model)
        except FieldError as error:
            raise UserError.of([error.about("--model", model)]) from None
    if files and not models:
        raise UserError(
            f"--model: missing, and {files[0]} does not tell; allowed: a registered architecture or "
            "package.module:function"
        )
    of_files = iter(
        Builder(model, width, options)
        for model, width in zip(
            _for_each("--model", list(models), len(files)), _for_each("--width", list(widths), len(files)), strict=True
        )
    )
    return [
        ModelSource(name, checkpoint, run or next(of_files), weights_key)
        for name, checkpoint, run in zip(called, checkpoints, found, strict=True)
    ]


def short_names(checkpoints: Sequence[str]) -> list[str]:
    """The shortest ends of paths, without the suffixes of weight files, that tell them apart; numbered if none does.

    Words (parted by "-") that all begin with are left out.
    """
    paths = [PurePosixPath(_without_suffix(checkpoint)).parts for checkpoint in checkpoints]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            words = [name.split("-") for name in names]
            alike = takewhile(lambda at: len(set(at)) == 1, zip(*(of_name[:-1] for of_name in words), strict=False))
            common = len(list(alike))
            return ["-".join(of_name[common:]) for of_name in words]
    shortest = [parts[-1] for parts in paths]
    return [f"{name} ({shortest[: index + 1].count(name)})" for index, name in enumerate(shortest)]


def _without_suffix(path: str) -> str:
    return next((path.removesuffix(suffix) for suffix in SUFFIXES if path.endswith(suffix)), path)


def _checked_names(names: Sequence[str], models: int) -> list[str]:
    unusable = next((name for name in names if not name.strip() or not name.isprintable()), None)
    if unusable is not None:
        raise UserError(f"--name: {unusable!r} is not allowed; allowed: one line that is not empty")
    if len(names) != models or len(set(names)) < models:
        raise UserError(
            f"--name: {', '.join(names)} is not allowed; allowed: {models} different ones, one a checkpoint"
        )
    return list(names)


def _for_each(option: str, values: list[Any], files: int) -> list[Any]:
    """One value a file; None for each if there is none."""
    if len(values) not in (0, 1, files):
        raise UserError(f"{option}: {len(values)} given for {files} checkpoints; allowed: one for all, or one for each")
    return (values or [None]) * (files if len(values) < 2 else 1)

"""Checkpoints that bring their network: ONNX files, folders of Hugging Face and timm, and functions of the user's."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dbviz_ray.config.registry import IMPORT_STRING, architecture_builder
from dbviz_ray.errors import UserError, one_line

from ..tracking.registry import ADDRESSES
from .checkpoint_files import kind_of
from .checkpoints import files_of, load_weights, read_weights
from .classifiers import Called, array_of, classifier_of

CONFIG, MLFLOW = "config.json", "mlflow"
FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def library_of(checkpoint: str, has_builder: bool) -> str | None:
    """What builds the network of a checkpoint: onnxruntime, transformers, timm, or the function that it names.

    None for weights, and for a folder that has a builder on the command line.
    """
    if checkpoint.startswith(ADDRESSES):
        return MLFLOW
    path = Path(checkpoint)
    if path.suffix == ".onnx" and path.exists():
        return "onnxruntime"
    if not path.exists() and IMPORT_STRING.match(checkpoint):
        return checkpoint
    if has_builder or not (path / CONFIG).is_file():
        return None
    return "transformers" if b'"model_type"' in (path / CONFIG).read_bytes() else "timm"


def ready_network(library: str, checkpoint: str, options: Mapping[str, Any], class_names: Sequence[str]) -> nn.Module:
    """The network of a checkpoint on the CPU, built by `library_of` it; the `options` are arguments of a function.

    UserError if it cannot be built, or the library is not installed.
    """
    try:
        if library == checkpoint:
            return classifier_of(checkpoint, architecture_builder(checkpoint)(**options), class_names)
        if library != MLFLOW:
            files_of(checkpoint)  # a line about weights that are missing
        with torch.random.fork_rng(devices=[]):
            return LIBRARIES[library](importlib.import_module(library), checkpoint)
    except UserError:
        raise
    except Exception as error:  # libraries and a user's own code may raise anything
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == library
        kind = f"is {kind_of(Path(checkpoint))}; " if library == "onnxruntime" and not is_absent else ""
        reason = f"{kind}{library} fails: {one_line(error, with_type=True)}"
        raise UserError(checkpoint, reason=reason, hint=f"pip install {library}" * is_absent) from error


def _of_timm(timm: Any, folder: str) -> nn.Module:
    network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=False)
    load_weights(network, read_weights(folder), folder, "built by timm")
    return network


def _of_transformers(transformers: Any, folder: str) -> nn.Module:
    """Loaded by transformers, which renames old weights; code in the folder is not run."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    network, loaded = transformers.AutoModelForImageClassification.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, ignore_mismatched_sizes=True, output_loading_info=True
    )
    lacking = sorted(map(str, [*loaded["missing_keys"], *loaded["mismatched_keys"]]))
    if lacking:
        raise UserError(folder, reason=f"does not fit the model: {lacking[0]} is missing or has another shape")
    return network  # type: ignore[no-any-return]


class OnnxNetwork(nn.Module):
    """An ONNX file on the CPU, for batches of any size: a fixed one is filled with copies of an image."""

    def __init__(self, onnxruntime: Any, path: str) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        scores = [one.name for one in outputs if one.type in FLOATS and len(one.shape or "nc") == 2]
        if len(inputs) != 1 or inputs[0].type not in FLOATS or not scores:
            has = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in (*inputs, *outputs))
            raise UserError(path, reason=f"has the inputs and outputs {has}", allowed="images to scores [n, classes]")
        self.input, self.scores = inputs[0], scores[0]

    def forward(self, images: Tensor) -> Tensor:
        """Scores `[n, classes]` of images."""
        shape = self.input.shape or []
        size = shape[0] if shape and isinstance(shape[0], int) else len(images)
        given = (images.flatten(1) if len(shape) == 2 else images).cpu().numpy().astype(FLOATS[self.input.type])
        filled = np.concatenate([given, given[:1].repeat(-len(given) % size, axis=0)])
        batches = [filled[start : start + size] for start in range(0, len(filled), size)]
        found = [self.session.run([self.scores], {self.input.name: batch})[0] for batch in batches]
        return torch.from_numpy(np.concatenate(found)[: len(given)]).float().to(images.device)


def _of_mlflow(mlflow: Any, address: str) -> nn.Module:
    """Of the flavour pytorch, or any other by what its predict says; both may run code that was stored with it."""
    flavours = mlflow.models.get_model_info(address).flavors
    if "pytorch" in flavours:
        network: nn.Module = mlflow.pytorch.load_model(address, map_location="cpu")
        return network
    model = mlflow.pyfunc.load_model(address)
    return Called(lambda images: np.asarray(model.predict(images)), address, array_of)


LIBRARIES: dict[str, Callable[[Any, str], nn.Module]]
LIBRARIES = {"onnxruntime": OnnxNetwork, "transformers": _of_transformers, "timm": _of_timm, MLFLOW: _of_mlflow}

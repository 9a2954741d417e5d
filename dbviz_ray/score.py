"""Compare models of your own: how far they are the same, in numbers, pictures and one HTML file.

dbviz-ray score CHECKPOINT CHECKPOINT ... --model MODEL --data DATA
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbviz_ray.config.registry import ARCHITECTURES, DATASETS
from dbviz_ray.terminal import run_command
from dbviz_ray.terminal.arguments import Parser, integer, naming_options, number, numbers, option, precision


@dataclass(frozen=True)
class Request:
    """What a command line asks for: each field declares its option."""

    checkpoints: tuple[str, ...] = option(
        "checkpoints", "two or more weight files, old before new, or what needs no --model: models/<model_id> of runs, "
        "folders of Hugging Face or timm, .onnx, package.module:function", (), nargs="*", metavar="CHECKPOINT",
    )  # fmt: skip
    models: tuple[str, ...] = option(
        "--model", f"what builds the network, once for all files or once for each: {', '.join(ARCHITECTURES)}, "
        "timm/NAME, or package.module:function, importable from here and called with the --model-options",
        (), "models", action="append",
    )  # fmt: skip
    widths: tuple[int, ...] = option(
        "--width", "width of the network, once for all files or once for each", (), "models",
        action="append", type=integer,
    )  # fmt: skip
    model_options: Mapping[str, Any] = option(
        "--model-option", "keyword argument of the function, or option of the architecture; values as in YAML",
        {}, "models",
    )  # fmt: skip
    names: tuple[str, ...] = option("--name", "names of the models, once for each", (), "models", action="append")
    weights_key: str | None = option(
        "--weights-key", "entry of the checkpoint that is the state dict", None, "models", metavar="KEY"
    )
    trusted: tuple[str, ...] = option(
        "--trust", "package.module:function that a run's model or data set may name; a run that names other code is "
        "refused, since that code would be imported and run", (), "models", action="append", metavar="CODE",
    )  # fmt: skip
    data: str | None = option(
        "--data", f"{', '.join(DATASETS)}; a .npz file with images (uint8, or normalised floats; [n,c,h,w], [n,h,w] or "
        "[n,h,w,c]), perhaps labels and class_names; or package.module:function that returns a "
        "dbviz_ray.datasets.Dataset, images and labels, or a loader", None, "images",
    )  # fmt: skip
    data_options: Mapping[str, Any] = option(
        "--data-option", "field of the data set, such as train_size=1000, or keyword argument of the function",
        {}, "images",
    )  # fmt: skip
    data_directory: str | None = option(
        "--data-directory", "folder of downloaded data sets", None, "images", metavar="DIR"
    )
    split: str | None = option(
        "--split", "which images of a data set (default: test)", None, "images", choices=["test", "train"]
    )
    mean: tuple[float, ...] | None = option(
        "--mean", "replaces the data set's own, for pixels from 0 to 1", None, "images",
        type=numbers, metavar="M[,M...]",
    )  # fmt: skip
    deviation: tuple[float, ...] | None = option(
        "--deviation", "standard deviation, likewise", None, "images", type=numbers, metavar="D[,D...]"
    )
    planes: int = option("--planes", "number of planes", 500, "planes", type=integer)
    resolution: int = option("--resolution", "grid points on each side of a plane", 50, "planes", type=integer)
    margin: float = option(
        "--margin", "how far a grid reaches past its three images, as a share of their bounding box", 0.1, "planes",
        type=number,
    )  # fmt: skip
    classes: str = option("--classes", "of the three images: different, any, same", "different", "planes")
    seed: int = option("--seed", "of the choice of images", 0, "planes", type=integer)
    precision: float = option(
        "--precision", "half-width of a 95 %% interval of the reproducibility; the report says how many planes it "
        "needs", 0.01, type=precision,
    )  # fmt: skip
    no_pictures: bool = option("--no-pictures", "write numbers and the report alone", False, action="store_true")
    picture_resolution: int | None = option(
        "--picture-resolution", "grid points on each side of the planes in the pictures (default: as many as a tenth "
        "of the points scored allows, at most 400)", type=integer, metavar="N",
    )  # fmt: skip
    device: str = option("--device", "cpu, cuda, cuda:1, ..., auto", "auto")
    batch_points: int | None = option(
        "--batch-points", "images in a batch (default: what suits the device)", type=integer, metavar="N"
    )
    out: str = option(
        "--out", "folder of the files; those of an earlier comparison are replaced", "comparison", metavar="DIR"
    )


def parser() -> Parser:
    """The parser of the command."""
    return Parser("score", Request)


def main(arguments: Sequence[str] | None = None, command: str = "score") -> int:
    """The command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(f"dbviz-ray {command}", lambda: _run(words), "nothing was written")


def _run(words: Sequence[str]) -> None:
    request = Request(**vars(parser().parse_args(words)))
    from dbviz_ray.analysis.compare.command import score  # imports torch

    with naming_options(Request):
        score(request, shlex.join(["dbviz-ray", "score", *words]))


if __name__ == "__main__":
    sys.exit(main())

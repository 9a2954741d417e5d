"""Compare models of your own: how far they are the same, in numbers, pictures and one HTML file.

python -m dbviz_ray.score CHECKPOINT CHECKPOINT ... --model MODEL --data DATA
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from dbviz_ray.config.registry import ARCHITECTURES, DATASETS
from dbviz_ray.errors import UserError
from dbviz_ray.terminal.arguments import Parser, integer, number, numbers, precision
from dbviz_ray.terminal.commands import run_command


def main(arguments: Sequence[str] | None = None, command: str = "score") -> int:
    """The command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(f"dbviz-ray {command}", lambda: _run(words), "nothing was written")


def _run(words: Sequence[str]) -> None:
    parsed = parser().parse_args(words)
    from dbviz_ray.analysis.compare.command import Request, score  # imports torch

    request = Request(
        checkpoints=tuple(parsed.checkpoints),
        models=tuple(parsed.model),
        widths=tuple(parsed.width),
        model_options=_fields("--model-option", parsed.model_option),
        names=tuple(parsed.name),
        weights_key=parsed.weights_key,
        trusted=tuple(parsed.trust),
        data=parsed.data,
        data_options=_fields("--data-option", parsed.data_option),
        data_directory=parsed.data_directory,
        split=parsed.split,
        mean=parsed.mean,
        deviation=parsed.deviation,
        planes=parsed.planes,
        resolution=parsed.resolution,
        margin=parsed.margin,
        classes=parsed.classes,
        seed=parsed.seed,
        precision=parsed.precision,
        device=parsed.device,
        batch_points=parsed.batch_points,
        out=parsed.out,
    )
    print(score(request, words))


def _fields(option: str, words: Sequence[str]) -> dict[str, Any]:
    from dbviz_ray.config.sweep_files import set_field

    fields: dict[str, Any] = {}
    for word in words:
        if not word.partition("=")[0] or "=" not in word:
            raise UserError(option, word, allowed="KEY=VALUE")
        try:
            set_field(fields, word)
        except UserError as error:
            raise error.renamed(lambda field: f"{option} {field}") from None
    return fields


def parser() -> Parser:
    """The parser of the command."""
    own = Parser(
        prog="dbviz-ray score",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Compare two or more trained models: how far their decision regions agree on\n"
            "planes through images (reproducibility), how shattered they are (fragmentation),\n"
            "and what changes on the images themselves from an old model to a new one\n"
            "(churn), each with a 95 % interval. Prints the result and writes report.html\n"
            "(one file, pictures and all), models.csv, pairs.csv, comparison.json and the\n"
            "pictures."
        ),
        epilog=(
            "Checkpoints are read without executing anything: safetensors, or what torch.save\n"
            "wrote of tensors and plain containers. A state dict may lie under model,\n"
            "state_dict, ... of a training's checkpoint and its names may begin with module.\n"
            "or _orig_mod. (--weights-key chooses where there are several).\n"
            "\nexamples:\n"
            "  dbviz-ray score old.pt new.pt --model my_package.nets:small_cnn \\\n"
            "      --data cifar10\n"
            "  dbviz-ray score a.safetensors b.safetensors --data photos.npz \\\n"
            "      --model torchvision.models:resnet18 --model-option num_classes=10 \\\n"
            "      --mean 0.485,0.456,0.406 --deviation 0.229,0.224,0.225 --device cuda\n"
            "  dbviz-ray score vgg.pt vit.pt --data image_folder \\\n"
            "      --data-option folder=/data/birds --data-option image_size=32 \\\n"
            "      --model vgg19 --model vit --width 64 --width 512\n"
            "  dbviz-ray score \\\n"
            "      runs/double_descent_digits/models/*-w{8,512}-*-noise0.2-seed0-*\n"
            "\nexit codes: 0 done, 2 an argument or a file is not usable, 130 and 143\n"
            "interrupted"
        ),
    )
    add_arguments(own)
    return own


def add_arguments(parser: argparse.ArgumentParser, command: str = "score") -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "checkpoints",
        nargs="*",
        metavar="CHECKPOINT",
        help="two or more weight files, old before new; or folders models/<model_id> of a sweep's run, which know "
        "their network and data set themselves",
    )
    models = parser.add_argument_group("models")
    models.add_argument(
        "--model",
        action="append",
        default=[],
        help=f"what builds the network, once for all files or once for each: {', '.join(ARCHITECTURES)}, timm/NAME, or "
        "package.module:function, importable from here and called with the --model-options",
    )
    models.add_argument("--width", action="append", type=integer, default=[], help="of the network, likewise")
    models.add_argument(
        "--model-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="keyword argument of the function, or option of the architecture; values as in YAML",
    )
    models.add_argument("--name", action="append", default=[], help="what to call the models, once for each")
    models.add_argument("--weights-key", metavar="KEY", help="entry of the checkpoint that is the state dict")
    models.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="CODE",
        help="package.module:function that a run's model or data set may name; without it a run that names code is "
        "refused, since that code would be imported and run",
    )
    data = parser.add_argument_group("images")
    data.add_argument(
        "--data",
        help=f"{', '.join(DATASETS)}; a .npz file with images (uint8, or floats normalised already; [n,c,h,w], [n,h,w] "
        "or [n,h,w,c]), labels and perhaps class_names; or package.module:function that returns a "
        "dbviz_ray.datasets.Dataset or images and labels",
    )
    data.add_argument(
        "--data-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="field of the data set, such as train_size=1000, or keyword argument of the function",
    )
    data.add_argument("--data-directory", metavar="DIR", help="where downloaded data sets are kept")
    data.add_argument("--split", choices=["test", "train"], help="which images of a data set (default: test)")
    data.add_argument("--mean", type=numbers, metavar="M[,M...]", help="replaces the data set's own: of pixels 0 to 1")
    data.add_argument("--deviation", type=numbers, metavar="D[,D...]", help="likewise")
    planes = parser.add_argument_group("planes")
    planes.add_argument("--planes", type=integer, default=500, help="how many (default: 500)")
    planes.add_argument("--resolution", type=integer, default=50, help="grid points on each side (default: 50)")
    planes.add_argument(
        "--margin", type=number, default=0.1, help="how far a grid reaches past its three images (default: 0.1 of them)"
    )
    planes.add_argument(
        "--classes", default="different", help="of the three images: different, any, same (default: different)"
    )
    planes.add_argument("--seed", type=integer, default=0, help="of the choice of images (default: 0)")
    parser.add_argument(
        "--precision",
        type=precision,
        default=0.01,
        help="half a 95 %% interval of the reproducibility, for the advice on how many planes it needs (default: 0.01)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ..., auto (default: auto)")
    parser.add_argument(
        "--batch-points", type=integer, metavar="N", help="images in a batch (default: what suits the device)"
    )
    parser.add_argument(
        "--out", metavar="DIR", default="comparison", help="where the files go (default: comparison); the files of an "
        "earlier comparison are replaced"
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

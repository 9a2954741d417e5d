"""Compare predictions in files, and decide whether a new model may replace an old one.

dbviz-ray compare OLD NEW ...
dbviz-ray gate OLD NEW --max-negative-flips 1%
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbviz_ray.terminal import EXIT_FAILED, run_command
from dbviz_ray.terminal.arguments import Parser, SetText, naming_options, option, precision, share


@dataclass(frozen=True, kw_only=True)
class Files:
    """The options that both commands have."""

    files: tuple[str, ...] = option(
        "files", "two or more, old before new: .csv, .parquet or .npz with a row for each item, its id, its label, and "
        "prediction or probabilities", (), nargs="*", metavar="FILE",
    )  # fmt: skip
    names: tuple[str, ...] = option("--name", "names of the models, once for each file", (), "columns", action="append")
    id: str | None = option("--id", "column that identifies an item (default: id, image, index, ...)", None, "columns")
    label: str | None = option("--label", "column of true classes (default: label, target, ...)", None, "columns")
    prediction: str | None = option(
        "--prediction", "column of predicted classes (default: prediction, predicted, ..., or the most probable class)",
        None, "columns",
    )  # fmt: skip
    groups: tuple[str, ...] = option(
        "--group", "column that parts the items into groups, each of which is scored, too", (), "columns",
        action="append", metavar="COLUMN",
    )  # fmt: skip
    where: Mapping[str, str] = option(
        "--where", "only rows with this value in this column, such as split=test", {}, "columns", action=SetText,
        metavar="COLUMN=VALUE",
    )  # fmt: skip
    common: bool = option("--common", "only the items that every file has", False, "columns", action="store_true")


@dataclass(frozen=True, kw_only=True)
class Comparing(Files):
    """What a comparison asks for."""

    images: str | None = option(
        "--images", "pictures of the items for the report: a folder whose files are named by the ids, or a .npz file "
        "with images and perhaps id", None,
    )  # fmt: skip
    precision: float = option(
        "--precision", "half-width of an interval of the agreement; the report says how many items it needs", 0.01,
        type=precision,
    )  # fmt: skip
    out: str = option(
        "--out", "folder of the results; those of an earlier comparison are replaced", "compared", metavar="DIR"
    )


@dataclass(frozen=True, kw_only=True)
class Gating(Files):
    """What a gate asks for."""

    max_negative_flips: float | None = option(
        "--max-negative-flips", "largest share of items that may go from right to wrong", None, "limits", type=share
    )
    max_churn: float | None = option(
        "--max-churn", "largest share of items whose prediction may change", None, "limits", type=share
    )
    min_agreement: float | None = option(
        "--min-agreement", "smallest share of items with the same prediction", None, "limits", type=share
    )
    max_accuracy_drop: float | None = option(
        "--max-accuracy-drop", "most that the accuracy may fall; 0 for not at all", None, "limits", type=share
    )
    limits: str | None = option(
        "--limits", "YAML file with such limits, such as max_churn: 5%%; options replace its lines", None, "limits",
        metavar="FILE",
    )  # fmt: skip
    reruns: tuple[str, ...] = option(
        "--reruns", "predictions of three or more trainings of one recipe, or a folder with them: old and new may "
        "differ by no more than these do", (), "limits", nargs="+", metavar="FILE",
    )  # fmt: skip
    registered: str | None = option(
        "--registered", "the new model in MLflow's registry, models:/NAME/VERSION or models:/NAME@ALIAS: it gets the "
        "verdict as tag, the measured shares as metrics, and the report", None, "MLflow", metavar="ADDRESS",
    )  # fmt: skip
    alias: str | None = option(
        "--set-alias", "alias of the registered model that moves to the new version if the verdict is PASS", None,
        "MLflow", metavar="ALIAS",
    )  # fmt: skip
    out: str = option("--out", "folder of verdict.json, verdict.md and verdict.xml (JUnit)", "gate", metavar="DIR")


VERDICTS = {"PASS": 0, "FAIL": 1, "UNDECIDED": 3}
"""The exit code of each verdict."""
GATE_FAILED = 4
"""That of a gate that could not do its work, so that it is no FAIL."""


def main(words: Sequence[str], command: str) -> int:
    """Run the command, which is "compare" or "gate"; returns its exit code."""
    verdicts: list[str] = []

    def gate() -> None:
        from dbviz_ray.analysis.predictions.gate import decide  # imports pandas and scipy

        _asked(Gating, command, words, lambda request, line: verdicts.append(decide(request, line)))

    def compare() -> None:
        from dbviz_ray.analysis.predictions.command import compare

        _asked(Comparing, command, words, compare)

    code = run_command(f"dbviz-ray {command}", gate if command == "gate" else compare, "nothing was written")
    if command == "gate" and code == EXIT_FAILED:
        return GATE_FAILED
    return code or VERDICTS[verdicts[0] if verdicts else "PASS"]


def _asked(kind: type[Any], command: str, words: Sequence[str], run: Callable[[Any, str], None]) -> None:
    request = kind(**vars(Parser(command, kind).parse_args(words)))
    with naming_options(kind):
        run(request, shlex.join(["dbviz-ray", command, *words]))

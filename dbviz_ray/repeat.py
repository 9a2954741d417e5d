"""Train with a command of your own several times, and compare what it gives.

dbviz-ray repeat --seeds 5 -- python train.py --seed {seed} --out {out}
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dbviz_ray.errors import StageFailedError, UserError
from dbviz_ray.formatting import paragraph
from dbviz_ray.scripts.collected import Collected, collect, same_seed_sentence
from dbviz_ray.scripts.recipe import AGAIN, Trial, trials_of
from dbviz_ray.scripts.running import Ended, is_done, last_line, outcome_of
from dbviz_ray.terminal import run_command
from dbviz_ray.terminal.arguments import Parser, SetText, amount, count, integer, naming_options, option, pattern
from dbviz_ray.terminal.progress import Amount, Progress

MOST_SEEDS = 10_000


def _seeds(text: str) -> tuple[int, ...]:
    """Such as 5 for 0 to 4, or 1,2,7."""
    named = [integer(part) for part in text.split(",")]
    seeds = tuple(named if "," in text else range(named[0]))
    if not 2 <= len(seeds) <= MOST_SEEDS or len(set(seeds)) < len(seeds):
        raise UserError("", text, allowed="how many, at least 2; or different seeds, such as 3,5,8")
    return seeds


@dataclass(frozen=True)
class Request:
    """What a command line asks for."""

    command: tuple[str, ...] = option(
        "command", "after --, the command that trains once: {seed} stands for the seed, {out} for the folder that it "
        "writes to. Without {out}, it is started in that folder", (), nargs="*", metavar="COMMAND",
    )  # fmt: skip
    seeds: tuple[int, ...] = option("--seeds", "how many, or which, such as 3,5,8", (0, 1, 2, 3, 4), type=_seeds)
    varied: Mapping[str, str] = option(
        "--vary", "another placeholder and its values, such as lr=[0.1,0.01]; each combination gets each seed",
        {}, action=SetText, metavar="NAME=[VALUE,...]",
    )  # fmt: skip
    same_seed: bool = option(
        "--same-seed", "also train the first seed twice, to see whether the command itself is deterministic",
        False, action="store_true",
    )  # fmt: skip
    predictions: str = option(
        "--predictions", "the file of predictions that each training writes, as a pattern in its folder",
        "predictions.*", "what is compared", type=pattern, metavar="PATTERN",
    )  # fmt: skip
    images: str | None = option("--images", "see dbviz-ray compare", None, "what is compared")
    weights: str | None = option(
        "--weights", "weight files that it writes, such as '*.pt'; of several, the last is compared, with --model and "
        "--data as for dbviz-ray score", None, "what is compared", type=pattern, metavar="PATTERN",
    )  # fmt: skip
    models: tuple[str, ...] = option("--model", "see dbviz-ray score", (), "what is compared", action="append")
    model_options: Mapping[str, Any] = option("--model-option", "see dbviz-ray score", {}, "what is compared")
    data: str | None = option("--data", "see dbviz-ray score", None, "what is compared")
    data_options: Mapping[str, Any] = option("--data-option", "see dbviz-ray score", {}, "what is compared")
    planes: int = option("--planes", "with --weights: number of planes", 500, "what is compared", type=integer)
    resolution: int = option(
        "--resolution", "with --weights: grid points on each side of a plane", 50, "what is compared", type=integer
    )
    cpus: float = option("--cpus", "CPU cores of one training", 1.0, "where it runs", type=amount)
    gpus: float = option("--gpus", "GPUs of one training; 0.5 lets two share one", 0.0, "where it runs", type=amount)
    memory: float = option("--memory", "GiB of memory of one training", 0.0, "where it runs", type=amount)
    retries: int = option("--retries", "how often a training that fails is tried again", 0, "where it runs", type=count)
    address: str | None = option("--address", "Ray cluster, as of dbviz-ray sweep", None, "where it runs")
    verbose: bool = option("--verbose", "also show the output of Ray", False, "where it runs", action="store_true")
    out: str = option(
        "--out", "folder of all trainings; nodes of a cluster must share it", "runs/repeat", metavar="DIR"
    )


def main(words: Sequence[str], command: str) -> int:
    """Run the command; returns its exit code."""
    return run_command(f"dbviz-ray {command}", lambda: _run(list(words)))


def _run(words: list[str]) -> None:
    split = words.index("--") if "--" in words else len(words)
    own, trained = words[:split], tuple(words[split + 1 :])
    request = Request(**{**vars(Parser("repeat", Request).parse_args(own)), "command": trained})
    with naming_options(Request):
        varied = {name: _listed(values) for name, values in request.varied.items()}
        trials = trials_of(trained, request.seeds, varied, Path(request.out), again=request.same_seed)
        _compare(request, trials, _train(request, trials), list(varied), shlex.join(["dbviz-ray", "repeat", *words]))


def _listed(text: str) -> list[str]:
    """The texts of a list in YAML, as they stand there."""
    try:
        values = yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        values = None
    found = values if isinstance(values, list) else [values]
    if not found or not all(isinstance(value, str) for value in found):
        raise UserError("varied", text, allowed="a list of values, such as [0.1,0.01]")
    return found


def _train(request: Request, trials: Sequence[Trial]) -> list[Trial]:
    """Run what has not run; returns the trainings that have ended well."""
    missing = [trial for trial in trials if not is_done(trial)]
    if not missing:
        return list(trials)
    from dbviz_ray.cluster.commands import GIB, run_trials  # imports Ray

    Path(request.out).mkdir(parents=True, exist_ok=True)  # a node without it does not share it
    room = {"CPU": request.cpus, "GPU": request.gpus, "memory": request.memory * GIB}
    with Progress(
        "train", {t.name: Amount(1, 1) for t in missing}, "trainings", len(trials) - len(missing)
    ) as progress:

        def hear(trial: Trial, found: Ended | str) -> None:
            if isinstance(found, Ended) and found.code == 0:
                progress.reach(trial.name, 1)
                return
            progress.fail(trial.name)
            reason = f"exit code {found.code}" if isinstance(found, Ended) else found
            progress.say(f"{trial.name} failed ({reason}): {last_line(trial)}; its log is {trial.folder}/log.txt")

        run_trials(missing, room, request.retries, request.address, request.verbose, hear)
    return [trial for trial in trials if (end := outcome_of(trial)) is not None and end.code == 0]


def _compare(
    request: Request, trials: Sequence[Trial], done: Sequence[Trial], varied: Sequence[str], command: str
) -> None:
    failed = f"{len(trials) - len(done)} of {len(trials)} trainings failed; the same command tries them again"
    found = collect(done, request.weights or request.predictions)
    again = [one for one in found if one.trial.name.endswith(AGAIN)]
    found = [one for one in found if one not in again]
    groups = [[one for one in found if one.trial.group == group] for group in {one.trial.group for one in found}]
    if max(map(len, groups), default=0) < 2:
        raise StageFailedError(f"nothing to compare: {failed}")
    for one in again:
        for first in found:
            if (first.trial.seed, first.trial.group) == (one.trial.seed, one.trial.group):
                told = [same_seed_sentence(first, one)]
                if request.weights and first.digest != one.digest:
                    from dbviz_ray.analysis.compare.weights_apart import weights_apart  # imports torch

                    told.append(weights_apart(first.file, one.file))
                print(paragraph(" ".join(told)) + "\n")
    if all(len({one.digest for one in group}) == 1 for group in groups):
        several = "of each recipe " * (len(groups) > 1)
        alike = f"All {len(found)} trainings {several}wrote the same file to the bit: the command ignores its seed, "
        print(paragraph(f"{alike}or what it learns does not depend on it.") + "\n")
    if request.weights:
        _compare_weights(request, found, command)
    elif varied:
        from dbviz_ray.analysis.predictions.recipes import compare_recipes

        compare_recipes([(one.trial.group, str(one.file)) for one in found], varied, request.out)
    else:
        _compare_predictions(request, found, command)
    if len(done) < len(trials):
        raise StageFailedError(failed)


def _compare_predictions(request: Request, found: Sequence[Collected], command: str) -> None:
    from dbviz_ray.analysis.predictions.command import compare
    from dbviz_ray.predictions import Comparing

    files, names = tuple(str(one.file) for one in found), tuple(one.trial.name for one in found)
    compare(Comparing(files=files, names=names, images=request.images, out=f"{request.out}/compared"), command)


def _compare_weights(request: Request, found: Sequence[Collected], command: str) -> None:
    from dbviz_ray.analysis.compare.command import score  # imports torch
    from dbviz_ray.score import Request as Scoring

    files, names = tuple(str(one.file) for one in found), tuple(one.trial.name for one in found)
    given = {
        name: getattr(request, name)
        for name in ("models", "model_options", "data", "data_options", "planes", "resolution")
    }
    score(Scoring(checkpoints=files, names=names, out=f"{request.out}/comparison", **given), command)

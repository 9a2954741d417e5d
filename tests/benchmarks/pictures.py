"""How long does a picture take that is fine enough to print, and what do the pictures of every evaluation cost?

    python tests/benchmarks/pictures.py [ondemand] [beside]

ondemand: seconds of a 500 x 500 picture of one plane by a ResNet-18 of width 8 on 8x8 images: in a process that has
loaded the network, on one core; and from the command line, `dbviz-ray disagreement RUN MODEL MODEL
--resolution 500` of which one of the two pictures is there already, start of Python and the drawing included.
Seconds of the processor stand beside those of the clock: on a shared machine they are the ones to look at.
beside: time (of the processor) of an evaluator's task with the picture it takes by itself as a multiple of that
without, medians over rounds in turn, on one core.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from timing import as_a_worker, markdown, measured_on, ratio_text

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import SweepConfig
from dbviz_ray.config.validation import validated
from dbviz_ray.datasets import load_dataset
from dbviz_ray.evaluation.pictures import take_picture
from dbviz_ray.evaluation.records import save_model
from dbviz_ray.evaluation.work import LabellingWork
from dbviz_ray.planes import PlaneSet
from dbviz_ray.stages.evaluate import work_of
from dbviz_ray.store import Store
from dbviz_ray.training.cohort import train_cohort

CPU = torch.device("cpu")
FINE, ROUNDS = 500, 5
CASES = [("fully_connected", 8, 200, 50), ("fully_connected", 512, 200, 50), ("resnet18_width", 8, 100, 25)]
"""Architecture, width, planes and resolution, as in sweeps/double_descent_digits and architectures_digits."""


def main() -> None:
    """Print the tables as Markdown."""
    parts: dict[str, Callable[[], str]] = {"ondemand": on_demand, "beside": beside}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which of {', '.join(parts)}; all by default")
    chosen = parser.parse_args().parts or list(parts)
    as_a_worker()
    print(f"## Pictures, {measured_on(CPU)}\n")
    for name in chosen:
        print(parts[name](), end="\n\n")


def on_demand() -> str:
    """A picture that somebody asks for."""
    with tempfile.TemporaryDirectory() as folder:
        store, models = _run_of_two(Path(folder) / "run")
        network = initialised_network("resnet18_width", 8, (1, 8, 8), 10, seed=0).eval()
        planes = _planes(1, 50)
        in_process = [_seconds(lambda: take_picture(network, planes, 0, FINE, CPU)) for _ in range(ROUNDS)]
        command = [sys.executable, "-m", "analysis", "disagreement", store.root, *models, "--resolution", str(FINE)]
        draw = functools.partial(
            subprocess.run, [*command, "--out", f"{folder}/pair.png"], check=True, capture_output=True
        )
        draw()
        whole = []
        for _ in range(ROUNDS):
            store.remove(store.picture_file("test", models[1], 1, 0))
            whole.append(_seconds(draw))
    rows = [
        [name, *(f"{statistics.median(column):.1f}" for column in zip(*taken, strict=True))]
        for name, taken in (("in a running process, one core", in_process), ("whole command", whole))
    ]
    return markdown([f"ResNet-18 of width 8, 8x8 images, {FINE} x {FINE} points", "seconds", "of the processor"], rows)


def beside() -> str:
    """The pictures that evaluators take by themselves."""
    rows = []
    for architecture, width, count, resolution in CASES:
        network = initialised_network(architecture, width, (1, 8, 8), 10, seed=0).eval()
        work = LabellingWork("test", _planes(count, resolution), probabilities=False)
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            with_picture = functools.partial(work.do, network, CPU, store, "model", 1)
            without = functools.partial(_without_picture, with_picture)
            do = {"with": with_picture, "without": without}
            rounds = [{name: _seconds(each)[1] for name, each in do.items()} for _ in range(ROUNDS + 1)][1:]
            picture = store.read_picture("test", "model", 1, 0)
        assert picture is not None
        name = f"{architecture} {width}, {count} planes of {resolution} x {resolution}"
        rows.append([name, f"{picture.resolution}", ratio_text(*([of[name] for of in rounds] for name in do))])
    return markdown(["planes", "points on a side of the picture", "time with it over time without"], rows)


def _without_picture(do: Callable[[], None]) -> None:
    with patch("dbviz_ray.evaluation.pictures.picture_resolution", return_value=None):
        do()


def _run_of_two(directory: Path) -> tuple[Store, list[str]]:
    """A run directory with two trained models and their planes, and their model_ids."""
    fields = {
        "name": "pictures",
        "dataset": {"name": "digits", "train_size": 100, "test_size": 100},
        "grid": {"architecture": ["resnet18_width"], "width": [8], "seed": [0, 1]},
        "training": {"epochs": 1},
        "planes": {"test": {"count": 3, "resolution": 10}},
    }
    sweep, store = validated(SweepConfig, fields), Store(directory)
    store.claim(sweep)
    data = load_dataset(sweep.dataset, "unused")
    for trained in train_cohort(sweep.models(), data, CPU):
        save_model(store, trained, data, {"device": "cpu"})
        [labelling] = work_of(sweep, store).values()
        network = initialised_network("resnet18_width", 8, (1, 8, 8), 10, seed=0).eval()
        labelling.do(network, CPU, store, trained.config.model_id, 1)
    return store, [model.model_id for model in sweep.models()]


def _planes(count: int, resolution: int) -> PlaneSet:
    none = torch.full((count, 3), -1)
    anchors = torch.randn(count, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return PlaneSet(anchors, none, none, resolution, 0.1)


def _seconds(do: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of the processor in this process and those that it has waited for."""

    def used() -> float:
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(of.ru_utime + of.ru_stime for of in map(resource.getrusage, whose))

    started, before = time.perf_counter(), used()
    do()
    return time.perf_counter() - started, used() - before


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    main()

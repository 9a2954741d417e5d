"""How close do label maps come to a bare forward loop, what do two actors bring, how large are files, what do pictures
cost?

    python tests/benchmarks/evaluation.py [--only loop|actors|files|beside|ondemand] [--out FILE]

loop: points per second of `label_maps` (points built, forward, argmax, labels as uint8) as a share of those of
`for batch in ready_batches: network(batch)` with the same batch size, on one core; medians over rounds in turn.
actors: points per second of `evaluate_models`, from the stored weights to the stored label maps, with two evaluators
and with one, in a Ray session that has started already. The start of the evaluators, some seconds whatever the sweep,
is measured by as many tasks of four points, and taken off. Where fewer than two cores are free it says nothing.
files: bytes of the Parquet file of 500 planes of 2,500 points of trained networks.
beside: the processor's time of an evaluator's task with the picture it takes by itself as a multiple of that without.
ondemand: seconds of a 500 x 500 picture of one plane by a ResNet-18 of width 8 on 8x8 images: in a process that has
loaded the network, on one core; and of the whole command `dbviz-ray disagreement RUN MODEL MODEL --resolution 500`, of
which one of the two pictures is there already.
"""

from __future__ import annotations

import functools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import safetensors.torch
import torch
from timing import CPU, ROOT, alternating, markdown, measure_parts, models_of, ratio_text

from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import DatasetConfig, PlaneSetConfig, ResourcesConfig, TrainingConfig
from dbviz_ray.datasets import DatasetFacts, load_dataset
from dbviz_ray.evaluation.label_maps import default_batch, label_maps
from dbviz_ray.evaluation.pictures import take_picture
from dbviz_ray.evaluation.work import LabellingWork, LabelPlanes, Task, What, Work
from dbviz_ray.planes import GridPoints, PlaneSet, draw_plane_set
from dbviz_ray.planning.sizes import evaluation_amounts
from dbviz_ray.store import Store
from dbviz_ray.store.layout import WEIGHTS
from dbviz_ray.training.cohort import train_cohort

DIGITS, COLOURS = (1, 8, 8), (3, 32, 32)
ROUNDS = 9
LOOPS = [
    ("fully_connected", 8, DIGITS, 40),
    ("fully_connected", 64, DIGITS, 40),
    ("fully_connected", 512, DIGITS, 20),
    ("fully_connected", 512, COLOURS, 4),
    ("resnet18_width", 8, DIGITS, 4),
    ("resnet18_width", 8, COLOURS, 1),
]
"""Architecture, width, image shape and planes."""
PICTURES = [("fully_connected", 8, 200, 50), ("fully_connected", 512, 200, 50), ("resnet18_width", 8, 100, 25)]
"""Architecture, width, planes and resolution, as in sweeps/double_descent_digits and architectures_digits."""
ACTOR_MODELS, ACTOR_PLANES, ACTOR_ROUNDS = 8, 3, 3
FILE_WIDTHS, FILE_PLANES, FILE_EPOCHS, FILE_NOISE = (32, 512), 500, 400, 0.2
FINE, FINE_ROUNDS = 500, 5
PAIR = {
    "dataset": {"name": "digits", "train_size": 100, "test_size": 100},
    "grid": {"architecture": ["resnet18_width"], "width": [8], "seed": [0, 1]},
    "training": {"epochs": 1},
    "planes": {"test": {"count": 3, "resolution": 10}},
}


def drawn_planes(count: int, shape: tuple[int, int, int], resolution: int = 50) -> PlaneSet:
    """Planes through random images."""
    anchors = torch.randn(count, 3, *shape, generator=torch.Generator().manual_seed(0))
    indices = torch.zeros(count, 3, dtype=torch.int64)
    return PlaneSet(anchors, indices, indices, resolution, margin=0.1)


def against_a_bare_loop() -> str:
    """One core: label maps and the forward passes alone."""
    rows = []
    for architecture, width, shape, count in LOOPS:
        network = initialised_network(architecture, width, shape, 10, seed=0).eval()
        planes = drawn_planes(count, shape)
        ready = [
            points.clone() for _, _, points in GridPoints(planes, CPU).batches(default_batch(CPU, math.prod(shape)))
        ]

        @torch.inference_mode()
        def bare(network: torch.nn.Module = network, ready: list[torch.Tensor] = ready) -> None:
            for batch in ready:
                network(batch)

        labelled = functools.partial(label_maps, network, planes, CPU)
        seconds = alternating({"bare": bare, "label maps": labelled}, ROUNDS)
        rate = count * 2500 / statistics.median(seconds["label maps"])
        name = f"{architecture} {width}, {'x'.join(map(str, shape))} images"
        rows.append([name, f"{rate:,.0f}", ratio_text(seconds["bare"], seconds["label maps"])])
    return markdown(["label maps", "points per second", "share of a bare forward loop"], rows)


def two_actors() -> str:
    """`evaluate_models` with two evaluators and with one."""
    from dbviz_ray.cluster.evaluation import evaluate_models
    from dbviz_ray.cluster.session import ray_session

    models = models_of("resnet18_width", 8, ACTOR_MODELS, TrainingConfig(epochs=1))
    plane_sets = {name: drawn_planes(ACTOR_PLANES, COLOURS, side) for name, side in (("test", 50), ("tiny", 2))}
    labelling: dict[What, Work] = {
        LabelPlanes(name): LabellingWork(name, planes, probabilities=False) for name, planes in plane_sets.items()
    }
    data = DatasetFacts(COLOURS, 10, 0, 0)
    with tempfile.TemporaryDirectory() as folder, ray_session("local", ResourcesConfig(), verbose=False) as session:
        store = Store(folder)
        for model in models:
            network = initialised_network(model.architecture, model.width, COLOURS, 10, model.seeds.init)
            store.write(store.model_file(model.model_id, WEIGHTS), safetensors.torch.save(network.state_dict()))

        def evaluated(plane_set: str, evaluators: int) -> None:
            tasks = [Task(LabelPlanes(plane_set), model, model.training.epochs) for model in models]
            amounts = evaluation_amounts(tasks, labelling, data)
            resources = ResourcesConfig(evaluators=evaluators)
            ended = evaluate_models(store, tasks, labelling, amounts, 0, data, resources, session, {})
            assert not ended.failures, ended.failures

        work = {
            f"{plane_set} {evaluators}": functools.partial(evaluated, plane_set, evaluators)
            for evaluators in (1, 2)
            for plane_set in plane_sets
        }
        seconds = alternating(work, ACTOR_ROUNDS)
    one, two = (
        [whole - start for whole, start in zip(seconds[f"test {count}"], seconds[f"tiny {count}"], strict=True)]
        for count in (1, 2)
    )
    points = ACTOR_MODELS * ACTOR_PLANES * 2500
    rates = [f"{points / statistics.median(taken):,.0f}" for taken in (one, two)]
    with_start = ratio_text(seconds["test 1"], seconds["test 2"])
    row = [f"{ACTOR_MODELS} resnet18_width 8, 3x32x32 images", *rates, ratio_text(one, two), with_start]
    return markdown(["actors", "points per second of one", "of two", "times faster", "with their start"], [row])


def file_sizes() -> str:
    """Parquet files of networks that were trained on noisy labels, as in sweeps/double_descent_digits.yaml."""
    config = DatasetConfig(name="digits", train_size=1000, test_size=797)
    data = load_dataset(config, "unused")
    planes = draw_plane_set(PlaneSetConfig(count=FILE_PLANES), data)
    settings = TrainingConfig(epochs=FILE_EPOCHS, batch_size=128, optimizer="adam", learning_rate=0.01)
    rows = []
    for width in FILE_WIDTHS:
        [model] = models_of("fully_connected", width, 1, settings)
        [trained] = train_cohort([model.model_copy(update={"label_noise": FILE_NOISE})], data, CPU)
        network = initialised_network("fully_connected", width, data.image_shape, 10, seed=0)
        network.load_state_dict(trained.weights)
        maps = label_maps(network.eval(), planes, CPU).numpy()
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            store.write_label_maps("test", model.model_id, 1, maps)
            size = Path(store.path(store.labels_file("test", model.model_id, 1))).stat().st_size
        regions = regions_of(maps, 0).fragmentation.mean()
        rows.append([str(width), f"{maps.size:,}", f"{regions:.2f}", f"{size:,}", f"{8 * size / maps.size:.2f}"])
    return markdown(["fully connected, width", "labels", "regions a plane", "bytes", "bits a label"], rows)


def pictures_beside() -> str:
    """The pictures that evaluators take by themselves."""
    rows = []
    for architecture, width, count, resolution in PICTURES:
        network = initialised_network(architecture, width, DIGITS, 10, seed=0).eval()
        planes = drawn_planes(count, DIGITS, resolution)
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)

            def without(network: torch.nn.Module = network, planes: PlaneSet = planes, store: Store = store) -> None:
                store.write_label_maps("test", "model", 1, label_maps(network, planes, CPU).numpy())

            with_it = functools.partial(
                LabellingWork("test", planes, probabilities=False).do, network, CPU, store, "model", 1
            )
            seconds = alternating({"with": with_it, "without": without}, FINE_ROUNDS, time.process_time)
            picture = store.read_picture("test", "model", 1, 0)
        assert picture is not None
        name = f"{architecture} {width}, {count} planes of {resolution} x {resolution}"
        rows.append([name, f"{picture.resolution}", ratio_text(seconds["with"], seconds["without"])])
    return markdown(["planes", "points on a side of the picture", "time with it over time without"], rows)


def picture_on_demand() -> str:
    """A picture that somebody asks for."""
    network, planes = initialised_network("resnet18_width", 8, DIGITS, 10, seed=0).eval(), drawn_planes(1, DIGITS)
    command = functools.partial(
        subprocess.run, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    with tempfile.TemporaryDirectory() as folder:
        sweep, run = Path(folder) / "pair.yaml", Path(folder) / "run"
        sweep.write_text(json.dumps(PAIR))  # which is YAML too
        command([sys.executable, "-m", "dbviz_ray.sweep", sweep, "--out", run, "--stages", "train,evaluate"])
        store = Store(run)
        models = sorted(store.complete_models())
        draw = [sys.executable, "-m", "dbviz_ray", "disagreement", run, *models, "--out", f"{folder}/pair.png"]

        def drawn() -> None:
            store.remove(store.picture_file("test", models[1], 1, 0))
            command([*draw, "--resolution", str(FINE)])

        work = {
            "in a running process, one core": lambda: take_picture(network, planes, 0, FINE, CPU),
            "whole command": drawn,
        }
        clocks = (time.perf_counter, lambda: sum(os.times()[:4]))  # of the processor: with ended child processes
        seconds = [alternating(work, FINE_ROUNDS, clock) for clock in clocks]
    rows = [[name, *(f"{statistics.median(taken[name]):.1f}" for taken in seconds)] for name in work]
    return markdown([f"ResNet-18 of width 8, 8x8 images, {FINE} x {FINE} points", "seconds", "of the processor"], rows)


if __name__ == "__main__":
    parts = {"loop": against_a_bare_loop, "actors": two_actors, "files": file_sizes}
    measure_parts("Label maps", __doc__, parts | {"beside": pictures_beside, "ondemand": picture_on_demand})

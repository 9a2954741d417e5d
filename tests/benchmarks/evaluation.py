"""How close do label maps come to a bare forward loop, what do two actors bring, and how large are the files?

    python tests/benchmarks/evaluation.py [loop] [actors] [files]

loop: points per second of `label_maps` (points built, forward, argmax, labels as uint8) as a share of those of
`for batch in ready_batches: network(batch)` with the same batch size, on one core; medians over rounds in turn.
actors: points per second of `evaluate_models`, from the stored weights to the stored label maps, with two evaluators
and with one, in a Ray session that has started already. The start of the evaluators, some seconds whatever the sweep,
is measured by as many tasks of four points, and taken off. Where fewer than two cores are free it says nothing.
files: bytes of the Parquet file of 500 planes of 2,500 points of trained networks.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from timing import alternating, as_a_worker, markdown, measured_on, models_of, ratio_text

from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import DatasetConfig, PlaneSetConfig, ResourcesConfig, TrainingConfig
from dbviz_ray.datasets import DatasetFacts, load_dataset
from dbviz_ray.evaluation.label_maps import default_batch, label_maps
from dbviz_ray.evaluation.records import load_network
from dbviz_ray.evaluation.work import LabellingWork, LabelPlanes, Task, What, Work
from dbviz_ray.planes import GridPoints, PlaneSet, draw_plane_set
from dbviz_ray.planning.sizes import evaluation_amounts
from dbviz_ray.store import Store
from dbviz_ray.store.layout import WEIGHTS
from dbviz_ray.training.cohort import train_cohort

CPU = torch.device("cpu")
ROUNDS = 9
CASES = [
    ("fully_connected", 8, (1, 8, 8), 40),
    ("fully_connected", 64, (1, 8, 8), 40),
    ("fully_connected", 512, (1, 8, 8), 20),
    ("fully_connected", 512, (3, 32, 32), 4),
    ("resnet18_width", 8, (1, 8, 8), 4),
    ("resnet18_width", 8, (3, 32, 32), 1),
]


ACTOR_MODELS, ACTOR_PLANES, ACTOR_ROUNDS = 8, 3, 3
FILE_WIDTHS, FILE_PLANES, FILE_EPOCHS, FILE_NOISE = (32, 512), 500, 400, 0.2


def main() -> None:
    """Print the tables as Markdown."""
    parts: dict[str, Callable[[], str]] = {"loop": against_a_bare_loop, "actors": two_actors, "files": file_sizes}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="loop|actors|files", help="all if none is named")
    named = parser.parse_args().parts
    if set(named) - set(parts):
        sys.exit(f"parts: {named} are not allowed; allowed: {list(parts)}")
    as_a_worker()
    print(f"## Label maps, {measured_on(CPU)}\n")
    for name, measure in parts.items():
        if not named or name in named:
            print(measure(), end="\n\n", flush=True)


def drawn_planes(count: int, shape: tuple[int, int, int]) -> PlaneSet:
    """Planes of 50 x 50 points through random images."""
    anchors = torch.randn(count, 3, *shape, generator=torch.Generator().manual_seed(0))
    indices = torch.zeros(count, 3, dtype=torch.int64)
    return PlaneSet(anchors, indices, indices, resolution=50, margin=0.1)


def against_a_bare_loop() -> str:
    """One core: label maps and the forward passes alone."""
    rows = []
    for architecture, width, shape, count in CASES:
        network = initialised_network(architecture, width, shape, 10, seed=0).eval()
        planes = drawn_planes(count, shape)
        ready = [points.clone() for _, _, points in GridPoints(planes, CPU).batches(default_batch(CPU))]

        def bare(network: torch.nn.Module = network, ready: list[torch.Tensor] = ready) -> None:
            with torch.inference_mode():
                for batch in ready:
                    network(batch)

        def labelled(network: torch.nn.Module = network, planes: PlaneSet = planes) -> None:
            label_maps(network, planes, CPU)

        seconds = alternating({"bare": bare, "label maps": labelled}, ROUNDS)
        rate = count * 2500 / statistics.median(seconds["label maps"])
        name = f"{architecture} {width}, {'x'.join(map(str, shape))} images"
        rows.append([name, f"{rate:,.0f}", ratio_text(seconds["bare"], seconds["label maps"])])
    return markdown(["label maps", "points per second", "share of a bare forward loop"], rows)


def two_actors() -> str:
    """`evaluate_models` with two evaluators and with one."""
    from dbviz_ray.cluster.evaluation import evaluate_models
    from dbviz_ray.cluster.session import ray_session

    shape = (3, 32, 32)
    models = models_of("resnet18_width", 8, ACTOR_MODELS, TrainingConfig(epochs=1))
    planes = drawn_planes(ACTOR_PLANES, shape)
    points = len(planes) * planes.resolution**2 * len(models)
    with tempfile.TemporaryDirectory() as folder, ray_session("local", ResourcesConfig(), verbose=False) as session:
        store = Store(folder)
        for model in models:
            network = initialised_network(model.architecture, model.width, shape, 10, model.seeds.init)
            store.write(store.model_file(model.model_id, WEIGHTS), safetensors.torch.save(network.state_dict()))
        tiny = PlaneSet(planes.anchors, planes.anchor_indices, planes.anchor_labels, resolution=2, margin=0.1)
        plane_sets = {"test": planes, "tiny": tiny}
        labelling: dict[What, Work] = {
            LabelPlanes(name): LabellingWork(name, of_set, probabilities=False) for name, of_set in plane_sets.items()
        }

        def evaluated(plane_set: str, evaluators: int) -> None:
            tasks = [Task(LabelPlanes(plane_set), model, model.training.epochs) for model in models]
            data = DatasetFacts(shape, 10, 0, 0)
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
    taken = [
        [whole - start for whole, start in zip(seconds[f"test {count}"], seconds[f"tiny {count}"], strict=True)]
        for count in (1, 2)
    ]
    name = f"{len(models)} resnet18_width 8, {'x'.join(map(str, shape))} images"
    rates = [f"{points / statistics.median(each):,.0f}" for each in taken]
    with_start = ratio_text(seconds["test 1"], seconds["test 2"])
    row = [name, *rates, ratio_text(*taken), with_start]
    header = ["actors", "points per second of one", "of two", "times faster", "with their start"]
    return markdown(header, [row])


def file_sizes() -> str:
    """Parquet files of networks that were trained on noisy labels, as in sweeps/double_descent_digits.yaml."""
    config = DatasetConfig(name="digits", train_size=1000, test_size=797)
    data = load_dataset(config, "unused")
    planes = draw_plane_set(PlaneSetConfig(count=FILE_PLANES), data)
    settings = TrainingConfig(epochs=FILE_EPOCHS, batch_size=128, optimizer="adam", learning_rate=0.01)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for width in FILE_WIDTHS:
            [model] = models_of("fully_connected", width, 1, settings)
            model = model.model_copy(update={"dataset": config, "label_noise": FILE_NOISE})
            [trained] = train_cohort([model], data, CPU)
            model_id = trained.config.model_id
            store.write(store.model_file(model_id, WEIGHTS), safetensors.torch.save(trained.weights))
            network = load_network(store, trained.config, data.image_shape, 10, FILE_EPOCHS)
            maps = label_maps(network, planes, CPU).numpy()
            store.write_label_maps("test", model_id, FILE_EPOCHS, maps)
            size = Path(store.path(store.labels_file("test", model_id, FILE_EPOCHS))).stat().st_size
            regions = regions_of(maps, 0).fragmentation.mean()
            rows.append([str(width), f"{maps.size:,}", f"{regions:.2f}", f"{size:,}", f"{8 * size / maps.size:.2f}"])
    return markdown(["fully connected, width", "labels", "regions a plane", "bytes", "bits a label"], rows)


if __name__ == "__main__":
    main()

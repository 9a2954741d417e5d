"""How close do label maps come to a bare forward loop over ready batches of the same model?

    python tests/benchmarks/evaluation.py

Points per second of `label_maps` (points built, forward, argmax, labels as uint8) as a share of those of
`for batch in ready_batches: network(batch)` with the same batch size, on one core; medians over rounds in turn.

2026-11-22, AMD EPYC 9005 (one core), Python 3.11.7, torch 2.14.1: see the table in README.md.
"""

from __future__ import annotations

import statistics

import torch
from timing import alternating, as_a_worker, ratio

from dbviz_ray.architectures import initialised_network
from dbviz_ray.evaluation import default_batch, label_maps
from dbviz_ray.planes import GridPoints, PlaneSet

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


def main() -> None:
    """Print one line a case."""
    as_a_worker()
    print(f"{'network':24} {'image':>10} {'points/s':>12}   share of a bare loop (median, smallest, largest)")
    for architecture, width, shape, count in CASES:
        network = initialised_network(architecture, width, shape, 10, seed=0).eval()
        anchors = torch.randn(count, 3, *shape, generator=torch.Generator().manual_seed(0))
        indices = torch.zeros(count, 3, dtype=torch.int64)
        planes = PlaneSet(anchors, indices, indices, resolution=50, margin=0.1)
        grid = GridPoints(planes, CPU)
        ready = [points.clone() for _, _, points in grid.batches(default_batch(CPU))]

        def bare(network: torch.nn.Module = network, ready: list[torch.Tensor] = ready) -> None:
            with torch.inference_mode():
                for batch in ready:
                    network(batch)

        def labelled(network: torch.nn.Module = network, planes: PlaneSet = planes) -> None:
            label_maps(network, planes, CPU)

        seconds = alternating({"bare": bare, "label maps": labelled}, ROUNDS)
        middle, low, high = ratio(seconds["bare"], seconds["label maps"])
        rate = count * 2500 / statistics.median(seconds["label maps"])
        name = f"{architecture} {width}"
        share = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        print(f"{name:24} {'x'.join(map(str, shape)):>10} {rate:>12,.0f}   {share}", flush=True)


if __name__ == "__main__":
    main()

"""How close do label maps come to a bare forward loop?

    python tests/benchmarks/evaluation.py [--out FILE]

Points per second of `label_maps` (points built, forward, argmax, labels as uint8) as a share of those of
`for batch in ready_batches: network(batch)` with the same batch size, on one core; medians over rounds in turn.
"""

import functools
import math
import statistics

import torch
from timing import CPU, alternating, as_a_worker, markdown, parser_of, ratio_text, report

from dbviz_ray.architectures import initialised_network
from dbviz_ray.evaluation.label_maps import default_batch, label_maps
from dbviz_ray.planes import GridPoints, PlaneSet

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


def drawn_planes(count: int, shape: tuple[int, int, int]) -> PlaneSet:
    """Planes through random images."""
    anchors = torch.randn(count, 3, *shape, generator=torch.Generator().manual_seed(0))
    indices = torch.zeros(count, 3, dtype=torch.int64)
    return PlaneSet(anchors, indices, indices, resolution=50, margin=0.1)


def against_a_bare_loop() -> str:
    """One core: label maps and the forward passes alone."""
    rows = []
    for architecture, width, shape, count in LOOPS:
        network = initialised_network(architecture, width, shape, 10, seed=0).eval()
        planes = drawn_planes(count, shape)
        batches = GridPoints(planes, CPU).batches(default_batch(CPU, math.prod(shape)))
        ready = [points.clone() for _, _, points in batches]

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


if __name__ == "__main__":
    chosen = parser_of(__doc__).parse_args()
    as_a_worker()
    report("Label maps", [against_a_bare_loop()], chosen.out)

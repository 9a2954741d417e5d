"""What do large images and a thousand classes cost in a comparison, beside a bare forward?

    python tests/benchmarks/many_classes.py [--rounds 3] [--out FILE]

Compares two ResNet-18 of torchvision with 1,000 classes and random weights on 60 random images of 224 x 224 pixels, on
20 planes of 400 points, without pictures: time as a multiple of a bare channels-last forward of as many images, in
turn, medians over rounds, and the peak memory of a process that does the comparison once.
"""

import resource
import statistics
import subprocess
import sys
import time

import torch
from timing import parser_of, report
from torchvision.models import resnet18

from dbviz_ray import compare

IMAGES, PLANES, RESOLUTION, BATCH = 60, 20, 20, 64


def networks() -> list[torch.nn.Module]:
    """Two ResNet-18, in channels-last order."""
    made = []
    for seed in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made.append(resnet18(num_classes=1000).eval().to(memory_format=torch.channels_last))
    return made


def seconds_of_comparison(models: list[torch.nn.Module], images: torch.Tensor) -> float:
    """Images, planes and scores."""
    began = time.perf_counter()
    compare(models, images, planes=PLANES, resolution=RESOLUTION)
    return time.perf_counter() - began


@torch.inference_mode()
def seconds_of_forward(models: list[torch.nn.Module], images: torch.Tensor) -> float:
    """As many forward passes alone as the comparison needs."""
    count = IMAGES + PLANES * RESOLUTION**2
    batch = images.repeat(2, 1, 1, 1)[:BATCH].contiguous(memory_format=torch.channels_last)
    began = time.perf_counter()
    for model in models:
        for start in range(0, count, BATCH):
            model(batch[: count - start]).argmax(1)
    return time.perf_counter() - began


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="compare once and print the peak memory in MiB")
    given = parser.parse_args()
    images = torch.randn(IMAGES, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    models = networks()
    if given.once:
        seconds_of_comparison(models, images)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    both = [(seconds_of_comparison(models, images), seconds_of_forward(models, images)) for _ in range(given.rounds)]
    peak = subprocess.run([sys.executable, __file__, "--once"], check=True, capture_output=True, text=True).stdout
    ratio = statistics.median(comparison / forward for comparison, forward in both)
    times = ", ".join(f"{comparison:.0f} s / {forward:.0f} s" for comparison, forward in both)
    text = f"comparison / bare forward: {ratio:.3f} ({times}); peak memory {int(peak):,} MiB"
    report("A thousand classes", [text], given.out)


if __name__ == "__main__":
    main()

"""How fast is a cohort in each manner of computing it, in turn within one process? For GPUs; a CPU does, too.

    python tests/benchmarks/manners.py [--widths 4,16,64] [--members 8] [--rounds 5] [--images N] [--out FILE]

ResNet-18 on random images of 3 x 32 x 32, bfloat16, batches of 128. Rows: operations one by one, as a CUDA graph,
compiled, with groups of convolutions that members share, with cuDNN's own measurement of algorithms, and single members
on streams side by side. A row that fails says why. GiB is the most memory that the row's training used.
"""

import time
from functools import partial

import torch
from timing import BATCH, DEVICE, IMAGES, cohort_of, in_turn, markdown, parser_of, report, synchronised

from dbviz_ray.config import ResourcesConfig
from dbviz_ray.errors import one_line
from dbviz_ray.training.cohort import CohortTraining
from dbviz_ray.training.states import Manner


def main() -> None:
    """Print a Markdown table of milliseconds a step and member for each width, and append them to `--out`."""
    chosen = parser_of(__doc__, widths=[4, 16, 64], members=8, rounds=5, images=IMAGES).parse_args()
    torch.set_num_threads(1)
    for width in chosen.widths:
        rows = rows_of(width, chosen.members, chosen.images, chosen.rounds)
        head = ["manner", "ms a step and member", "times the first", "GiB", "s until the second epoch"]
        told = f"ResNet-18 of width {width}, {chosen.members} members on {DEVICE}, {chosen.rounds} rounds in turn."
        report("Manners of computing a cohort", [told, markdown(head, rows)], chosen.out)


def manners(members: int) -> dict[str, tuple[str, Manner, bool]]:
    """By name: `resources.execution`, manner, and whether cuDNN measures its algorithms."""
    graph = "cuda_graph" if DEVICE.type == "cuda" else "eager"
    named = {
        "one operation after the other": ("eager", Manner(members), False),
        "CUDA graph": (graph, Manner(members), False),
        "CUDA graph, cuDNN measures": (graph, Manner(members), True),
    }
    for channels in (32, 64, 128):
        named[f"CUDA graph, groups of {channels}"] = (graph, Manner(members, channels=channels), False)
    named["compiled CUDA graph"] = (graph, Manner(members, True), False)
    named["compiled CUDA graph, groups of 64"] = (graph, Manner(members, True, 64), False)
    named["CUDA graph, members on streams"] = (graph, Manner(1), False)
    named["compiled CUDA graph, members on streams"] = (graph, Manner(1, True), False)
    return named


def rows_of(width: int, members: int, images: int, rounds: int) -> list[list[str]]:
    """One row for each manner."""
    runs, failed, held = {}, {}, {}
    for name, (execution, manner, measures) in manners(members).items():
        began, before, peak = time.perf_counter(), 0, 0
        if DEVICE.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        try:
            resources = ResourcesConfig(stack=members, execution=execution)
            training = cohort_of("resnet18_width", width, members, images, resources=resources)
            training.network.adopt(manner)
            run = partial(epoch, training, measures)
            run()
            run()
        except Exception as error:
            failed[name] = one_line(error)[:80]
            continue
        if DEVICE.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
        runs[name] = run
        held[name] = f"{(peak - before) / 2**30:.2f}", f"{time.perf_counter() - began:.0f}"
    median = in_turn(runs, rounds)
    first, unit = next(iter(median.values())), 1000 / members / -(-images // BATCH)
    rows = [[name, f"{unit * took:.3f}", f"{first / took:.2f}", *held[name]] for name, took in median.items()]
    return rows + [[name, reason, "", "", ""] for name, reason in failed.items()]


def epoch(training: CohortTraining, cudnn_measures: bool) -> None:
    """cuDNN may measure which algorithm is fastest for new shapes."""
    torch.backends.cudnn.benchmark = cudnn_measures
    synchronised(training.run_epoch)


if __name__ == "__main__":
    main()

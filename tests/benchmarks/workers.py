"""The pairs of a run of `scale.py`, scored by 1, 2 and 4 Ray tasks at a time: `python tests/benchmarks/workers.py RUN`.

Measures the seconds of a block of planes and of taking in its scores, too. From these a simulation of `Session.over`
gives the seconds of many such blocks on up to 100 nodes of 16 cores, whose scores come through one 10 Gbit/s line.
"""

import heapq
import pickle
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import ray
from timing import markdown, parser_of, report

from dbviz_ray.analysis.scores.group_scores import independent_pairs
from dbviz_ray.analysis.scores.groups import groups_among
from dbviz_ray.analysis.scores.plane_scores import PlaneScores, joined, score_planes
from dbviz_ray.analysis.scores.trained import stored_planes
from dbviz_ray.cluster.session import Session
from dbviz_ray.store import Store

WANTED, SHARE, CORES, BYTES_A_SECOND = frozenset({"reproducibility", "fragmentation"}), 0.01, 16, 1.25e9


def simulated(blocks: int, workers: int, seconds: float, taking: float) -> float:
    """The seconds until the scores of all blocks are taken in, which takes turns; a block needs a worker."""
    free, begun, now = [0.0] * workers, deque[float](), 0.0
    while blocks or begun:
        while blocks and len(begun) <= 2 * workers:
            begun.append(max(now, heapq.heappop(free)) + seconds)
            heapq.heappush(free, begun[-1])
            blocks -= 1
        now = max(now, begun.popleft()) + taking
    return now


def main() -> None:
    """Print Markdown tables, and append them to `--out`."""
    parser = parser_of(__doc__, workers=[1, 2, 4], nodes=[1, 2, 4, 10, 30, 100], blocks=2000)
    parser.add_argument("run", type=Path)
    chosen = parser.parse_args()
    store = Store(chosen.run)
    sweep = store.sweep()
    configs, epochs = sweep.models(), [1] * len(sweep.models())
    stored, groups = stored_planes(store, sweep, "test", configs, epochs), groups_among(configs, epochs)
    sets = [independent_pairs(group) for group in groups]
    began, parts, planes = time.perf_counter(), list[PlaneScores](), list[int]()

    def only_one(of: Callable[..., PlaneScores], blocks: Sequence[slice]) -> list[PlaneScores]:
        planes.append(blocks[0].stop)
        parts.append(of(blocks[0], threads=1))
        return parts

    score_planes(stored, WANTED, sets, SHARE, only_one)
    block, sent = time.perf_counter() - began, pickle.dumps(parts[0])
    began = time.perf_counter()
    joined([*parts, pickle.loads(sent)])
    taking = time.perf_counter() - began + len(sent) / BYTES_A_SECOND
    rows = []
    for workers in chosen.workers:
        ray.init(num_cpus=workers, include_dashboard=False, logging_level="ERROR")
        began = time.perf_counter()
        score_planes(stored, WANTED, sets, SHARE, Session(joined=False).over)
        rows.append([str(workers), f"{time.perf_counter() - began:.0f}"])
        ray.shutdown()
    nodes = [[str(count), f"{simulated(chosen.blocks, CORES * count, block, taking):,.0f}"] for count in chosen.nodes]
    about = f"{len(configs)} models, {stored.planes} planes of {stored.resolution} x {stored.resolution} points"
    facts = f"A block of {planes[0]} planes takes a core {block:.1f} s, its scores {taking:.2f} s to be taken in."
    simulation = f"{facts} Simulated: {chosen.blocks} blocks on nodes of {CORES} cores."
    tables = [markdown(["workers", "seconds"], rows), simulation, markdown(["nodes", "seconds"], nodes)]
    report(f"Pairs by Ray tasks: {about}", tables, chosen.out)


if __name__ == "__main__":
    main()

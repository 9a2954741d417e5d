"""The pairs of a run of `scale.py`, scored by Ray tasks: `python tests/benchmarks/workers.py RUN`.

A block of planes and the taking in of its scores are timed, too. They give the seconds of many blocks on many nodes of
16 cores, whose scores come through one line of 10 Gbit/s, by the rules of `Session.over`.
"""

import heapq
import pickle
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from timing import markdown, parser_of, report

from dbviz_ray.analysis.scores.groups import groups_among
from dbviz_ray.analysis.scores.plane_scores import score_planes
from dbviz_ray.analysis.scores.trained import stored_planes
from dbviz_ray.cluster.session import Session
from dbviz_ray.store import Store

WANTED, SHARE, CORES, BYTES_A_SECOND = frozenset({"reproducibility", "fragmentation"}), 0.01, 16, 1.25e9


def simulated(blocks: int, workers: int, seconds: float, taking: float) -> float:
    """The seconds until the scores of all blocks are taken in, one after the other; each block needs a worker."""
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
    models = store.sweep().models()
    stored = stored_planes(store, store.sweep(), "test", models, epochs := [1] * len(models))
    of = stored, WANTED, [group.independent_pairs for group in groups_among(models, epochs)], SHARE
    parts: list[Any] = []

    def at_most_two(score: Any, blocks: Sequence[slice]) -> list[Any]:
        parts.extend(score(block, threads=1) for block in blocks[:2])
        return parts

    began = time.perf_counter()
    score_planes(*of, at_most_two)
    block, sent = (time.perf_counter() - began) / len(parts), pickle.dumps(parts[-1])
    began = time.perf_counter()
    parts[0].same_points.extended(pickle.loads(sent).same_points)
    taking = time.perf_counter() - began + len(sent) / BYTES_A_SECOND
    rows = []
    for workers in chosen.workers:
        ray.init(num_cpus=workers, include_dashboard=False, logging_level="ERROR")
        began = time.perf_counter()
        score_planes(*of, Session(joined=False).over)
        rows.append([str(workers), f"{time.perf_counter() - began:.0f}"])
        ray.shutdown()
    nodes = [[str(count), f"{simulated(chosen.blocks, CORES * count, block, taking):,.0f}"] for count in chosen.nodes]
    told = f"{parts[0].planes} planes take a core {block:.1f} s, their scores {taking:.2f} s to be taken in. "
    told += f"Simulated: {chosen.blocks:,} such blocks on nodes of {CORES} cores, whose scores come through one line "
    told += f"of {BYTES_A_SECOND / 1.25e8:g} Gbit/s."
    about = f"Pairs by Ray tasks: {len(models)} models, {stored.planes} planes of {stored.resolution**2} points"
    report(about, [markdown(["workers", "seconds"], rows), told, markdown(["nodes", "seconds"], nodes)], chosen.out)


if __name__ == "__main__":
    main()

"""Machines vanish in the middle of the work: Ray nodes on this machine."""

from __future__ import annotations

import pytest
from support.node_clusters import NODE, cluster_of, workers_of
from support.whole_sweeps import SMALL, started, tables, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def busy_node(cluster, worker):
    """A node on which such a worker is."""
    return next(node for node in cluster.list_all_nodes() if workers_of(node, worker))


def test_a_sweep_outlives_a_node_in_training_and_another_in_evaluation(undisturbed, tmp_path):
    directory = tmp_path / "lossy"
    with cluster_of(nodes=2) as cluster:
        process = started(directory, *SMALL, "resources.retries=0", address=cluster.address)
        wait_for("cohorts/*/state.safetensors", directory, process)
        cluster.remove_node(busy_node(cluster, "ray::ImplicitFunc"), allow_graceful=False)
        wait_for("labels/*/*/*/labels.parquet", directory, process)
        cluster.remove_node(busy_node(cluster, "ray::Evaluator"), allow_graceful=False)
        cluster.add_node(**NODE)
        assert process.wait(200) == 0, (tmp_path / "lossy.log").read_text()
    assert tables(directory) == tables(undisturbed[0])

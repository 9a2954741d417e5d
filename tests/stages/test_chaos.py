"""The short form of tests/chaos.py, without what tests/test_node_loss.py and test_sweep_processes.py kill."""

from __future__ import annotations

import random
import time

import pytest
from support.chaos import check, disturbed
from support.whole_sweeps import SMALL

KINDS = ["trial worker", "evaluator", "driver"]
WITHIN_SECONDS = 0.3
"""Evaluators need longer than this to start; all they then have to do takes them two seconds."""
PLANES = {"test": 20, "one_class": 10}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_results_survive_kills_at_random_moments(undisturbed, tmp_path):
    seed = time.time_ns()
    sweep = [*SMALL, "resources.retries=1"]
    trained, kills = disturbed(tmp_path / "run", random.Random(seed), KINDS, sweep, WITHIN_SECONDS)
    assert kills.keys() == set(KINDS), f"seed {seed}"
    check(tmp_path / "run", undisturbed[0], trained, PLANES)

"""Workers, nodes and the driver are killed at random moments: the results stay the same. See tests/support/chaos.py."""

import random

import pytest
from support.chaos import check, disturbed
from support.whole_sweeps import SMALL, TABLES_ONLY

KINDS = ["trial worker", "node", "driver", "evaluator", "node"]
"""One kill after the other, so that a node goes in training and another, the last, in evaluation."""
WITHIN_SECONDS = 0.3
"""Evaluators take longer than this to start, and two seconds for their work."""
PLANES = {"test": 20, "one_class": 10}


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_results_survive_kills_at_random_moments(undisturbed, tmp_path):
    sweep = [*SMALL, "resources.retries=1", "resources.evaluators=null", *TABLES_ONLY]
    trained, kills = disturbed(tmp_path / "run", random.Random(1), KINDS, sweep, WITHIN_SECONDS)
    assert kills.keys() == set(KINDS)
    check(tmp_path / "run", undisturbed[0], trained, PLANES)

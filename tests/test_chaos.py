"""The short form of tests/chaos.py."""

from __future__ import annotations

import random
import time

import pytest
from chaos import SWEEP, Chaos, check, disturbed
from whole_sweeps import run

KILLS = 5


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_results_survive_kills_at_random_moments(tmp_path):
    expected = tmp_path / "undisturbed" / "run"
    expected.parent.mkdir()
    run(expected, *SWEEP)
    seed = time.time_ns()
    chaos = Chaos(random.Random(seed))
    trained = disturbed(tmp_path / "run", chaos, KILLS)
    assert chaos.kills.total() == KILLS, f"seed {seed}"
    check(tmp_path / "run", expected, trained)

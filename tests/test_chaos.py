"""The short form of tests/chaos.py."""

from __future__ import annotations

import random
import time

import pytest
from chaos import SWEEP, check, disturbed, kinds_of_a_sweep
from whole_sweeps import run


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_results_survive_kills_at_random_moments(tmp_path):
    expected = tmp_path / "undisturbed" / "run"
    expected.parent.mkdir()
    run(expected, *SWEEP)
    seed = time.time_ns()
    generator = random.Random(seed)
    trained, kills = disturbed(tmp_path / "run", generator, kinds_of_a_sweep(generator))
    assert kills.total() >= 3, f"seed {seed}"
    check(tmp_path / "run", expected, trained)

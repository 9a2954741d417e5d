"""Pseudo-values of seeds, against leaving each one out; and of very many models."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbviz_ray.analysis.statistics.pseudo_values import leaving_out


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.integers(1, 8), st.booleans(), st.integers(0, 1000))
def test_each_seed_is_left_out(models, seeds, pairs, seed):
    """Of models, or of pairs, some of which have one seed on both sides."""
    generator = np.random.default_rng(seed)
    level = generator.integers(0, seeds, models)
    members = np.stack(np.triu_indices(models, 1), axis=1) if pairs else np.arange(models)[:, None]
    cells = generator.random((len(members), 3))
    names, without = np.unique(level), []
    for name in names:
        kept = [cell for cell, own in zip(cells, members, strict=True) if name not in level[own]]
        without.append(np.mean(kept, axis=0) if kept else None)
    found = leaving_out(cells, members, level)
    if len(names) < 2 or any(mean is None for mean in without):
        assert found is None
    else:
        means = np.array(without)
        expected = cells.mean(axis=0) - (len(names) - 1) * (means - means.mean(axis=0))
        assert found == pytest.approx(expected)


def test_a_thousand_models_in_one_group():
    """499,500 pairs in less memory than one number for each model and pair (4 GB) would take: 100 MB."""
    first, second = np.triu_indices(1000, 1)
    effects = np.arange(1000.0)
    cells = (effects[first] + effects[second])[:, None]
    members = np.stack([first, second], axis=1)
    tracemalloc.start()
    try:
        found = leaving_out(cells, members, np.arange(1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1e8
    # Without model i the mean of the others falls by (e_i - mean) / 999, that of their pairs by twice that.
    expected = cells.mean() + 999 * 2 * (effects - effects.mean()) / 999
    assert found[:, 0] == pytest.approx(expected)

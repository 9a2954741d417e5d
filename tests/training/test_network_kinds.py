"""Every kind of network trains as a plain loop trains it, in any stack, whatever its code does."""

from __future__ import annotations

import pytest
import torch
from support.cohorts import cohort_of
from support.network_kinds import KINDS, OUTSIDE
from support.one_by_one import one_by_one

from dbviz_ray.config import ResourcesConfig
from dbviz_ray.training.cohort import train_cohort
from dbviz_ray.training.ordinary import ORDINARY

SAM_TOO = ("dropouts", "counts_calls", "functional_dropout", "mean_assigned", "straight_through")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_trains_as_in_a_plain_loop_in_any_stack(kind, digits, cpu):
    settings = {"sam_radius": 0.05} if kind in SAM_TOO else {}
    models = cohort_of(f"support.network_kinds:{kind}", 4, epochs=2, batch_size=600, **settings)[:2]
    plain = {}
    for stack in (2, 1):
        for model in train_cohort(models, digits, cpu, resources=ResourcesConfig(stack=stack)):
            key = model.config.model_id, model.stack == ORDINARY
            if key not in plain:
                plain[key], _ = one_by_one(model.config, digits, draws_itself=model.stack == ORDINARY)
            weights = plain[key].state_dict()
            assert model.weights.keys() == weights.keys()
            for name, tensor in weights.items():
                torch.testing.assert_close(model.weights[name], tensor, rtol=0, atol=1e-11, equal_nan=True)


@pytest.mark.parametrize("kind", sorted(OUTSIDE))
def test_a_network_that_its_state_dict_does_not_hold_fails(kind, digits, cpu):
    models = cohort_of(f"support.network_kinds:{kind}", 4, epochs=1, batch_size=600)[:2]
    with pytest.raises(ValueError, match="state_dict"):
        train_cohort(models, digits, cpu)

"""Every kind of network trains as a plain loop trains it, in any stack, whatever its code does."""

from dataclasses import replace

import pytest
import torch
from support.cohorts import assert_same_weights, cohort_of
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


@pytest.mark.parametrize("stack", [2, 1])
def test_one_logit_trains_with_binary_cross_entropy(stack, digits, cpu):
    even = {"train_labels": digits.train_labels % 2, "test_labels": digits.test_labels % 2}
    data = replace(digits, **even, class_names=("even", "odd"))
    settings = {"optimizer": "sgd", "learning_rate": 0.1, "batch_size": 200}
    models = cohort_of("support.user_networks:one_logit", 8, epochs=2, **settings)[:2]
    for model in train_cohort(models, data, cpu, resources=ResourcesConfig(stack=stack)):
        assert model.stack == stack
        plain, _ = one_by_one(model.config, data)
        assert_same_weights(model, plain.state_dict())
        said = plain(data.normalised(data.test_images, torch.float64)) > 0
        assert torch.equal(model.predictions["test"], said.long())


@pytest.mark.parametrize("kind", sorted(OUTSIDE))
def test_a_network_that_its_state_dict_does_not_hold_fails(kind, digits, cpu):
    models = cohort_of(f"support.network_kinds:{kind}", 4, epochs=1, batch_size=600)[:2]
    with pytest.raises(ValueError, match="state_dict"):
        train_cohort(models, digits, cpu)

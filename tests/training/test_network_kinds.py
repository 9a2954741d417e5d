"""Every kind of network trains as a plain loop trains it, in any stack, whatever its code does."""

import os

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis.strategies import lists, sampled_from
from support.cohorts import cohort_of
from support.network_kinds import KINDS, LAYERS, OUTSIDE, UNSTEADY
from support.one_by_one import one_by_one
from support.python_kinds import PYTHON_KINDS, SHARED
from support.random_networks import CODES, name_of
from torch import nn

from dbviz_ray.config import ResourcesConfig
from dbviz_ray.training.cohort import train_cohort
from dbviz_ray.training.ordinary import ORDINARY
from dbviz_ray.training.verification import attributes

SAM_TOO = ("dropouts", "counts_calls", "functional_dropout", "mean_assigned", "straight_through")
SETTINGS = {kind: {"sam_radius": 0.05} for kind in SAM_TOO} | {"loops_over_the_batch": {"batch_size": 20}}


def assert_trains_as_in_a_plain_loop(architecture, digits, cpu, members=2, stacks=(2, 1), tolerance=1e-11, **training):
    """In stacks of these sizes, all members end with the weights of an ordinary loop."""
    models = cohort_of(architecture, 4, **{"epochs": 2, "batch_size": 600, "evaluate_every": 1} | training)[:members]
    plain = {}
    for stack in stacks:
        for model in train_cohort(models, digits, cpu, resources=ResourcesConfig(stack=stack)):
            key = model.config.model_id, model.stack == ORDINARY
            if key not in plain:
                plain[key], _ = one_by_one(model.config, digits, draws_itself=model.stack == ORDINARY)
            plain[key].train()  # as training leaves it
            weights = plain[key].state_dict()
            torch.testing.assert_close(model.weights, weights, rtol=0, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_trains_as_in_a_plain_loop_in_any_stack(kind, digits, cpu):
    # Of what can be stacked, members alone compute only batch norm and dropout in another way.
    stacks = (2, 1) if "norm" in kind or "drop" in kind else (2,)
    settings = SETTINGS.get(kind, {})
    assert_trains_as_in_a_plain_loop(f"support.network_kinds:{kind}", digits, cpu, stacks=stacks, **settings)


@pytest.mark.parametrize("kind", sorted(PYTHON_KINDS))
def test_a_kind_that_is_more_than_operations_trains_as_in_a_plain_loop(kind, digits, cpu):
    """With weight decay, which leaves parameters without gradients as they are."""
    decay = {"optimizer": "adam", "weight_decay": 0.01, "batch_size": 50}
    assert_trains_as_in_a_plain_loop(f"support.python_kinds:{kind}", digits, cpu, **decay)


@pytest.mark.parametrize("kind", ["branches_in_evaluation", "made_at_first"])
def test_a_network_whose_evaluation_cannot_be_stacked_is_captured_alone(kind, digits, cpu):
    models = cohort_of(f"support.python_kinds:{kind}", 4, epochs=1, batch_size=600)[:2]
    assert train_cohort(models, digits, cpu)[0].stack == 1


@settings(max_examples=int(os.environ.get("RANDOM_NETWORKS", "2")), print_blob=True, phases=[Phase.generate])
@given(
    layers=lists(sampled_from(sorted(LAYERS)), min_size=1, max_size=3),
    codes=lists(sampled_from(CODES), min_size=1, max_size=2),
    sam_radius=sampled_from([None, 0.05]),
)
def test_random_networks_train_as_in_a_plain_loop_alone_and_three_together(digits, cpu, layers, codes, sam_radius):
    """RANDOM_NETWORKS=150 tries so many, each in 1 to 5 seconds; a failure is not shrunk."""
    extra = {} if sam_radius is None else {"sam_radius": sam_radius}
    assert_trains_as_in_a_plain_loop(name_of(layers, codes), digits, cpu, 3, (3, 1), 1e-9, **extra)


@pytest.mark.parametrize("kind", sorted(OUTSIDE | SHARED | UNSTEADY))
def test_a_network_that_its_state_dict_does_not_hold_or_that_no_image_decides_fails(kind, digits, cpu):
    models = cohort_of(f"support.{'network' if kind in OUTSIDE else 'python'}_kinds:{kind}", 4, epochs=1)[:2]
    reason = "state_dict" if kind in OUTSIDE else "share" if kind in SHARED else "evaluation mode"
    for _ in range(2):  # trials use a process again
        with pytest.raises(ValueError, match=reason):
            train_cohort(models, digits, cpu)


def test_looking_at_attributes_changes_none():
    kind = type("Held", (), {})  # Python keeps in a class what it has found out about it
    network = nn.Linear(1, 1)
    network.kind, network.held, network.seen = kind, kind(), torch.ones(2, dtype=torch.bfloat16)
    before = attributes(network)
    assert attributes(network) == before
    network.seen[0] = 2
    assert attributes(network) != before

"""Some members of a cohort continue from the state of the whole as they would have in it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.cohorts import CONVOLUTIONAL, OPTIMIZERS, SAM, SCHEDULES, Memory, assert_same_weights, cohort_of

from dbviz_ray.config import ResourcesConfig
from dbviz_ray.training.checkpoints import state_of_members
from dbviz_ray.training.cohort import HISTORY, CohortTraining, train_cohort

SPLIT = {
    "adam, drops": (6, OPTIMIZERS["adam"] | SCHEDULES["drops"]),
    "sgd without momentum, alone": (1, OPTIMIZERS["sgd without momentum"]),
    "batch norm, dropout, sgd, sam": (6, SAM["sam over sgd"] | CONVOLUTIONAL | {"batch_size": 100}),
}


@pytest.mark.parametrize(("stack", "settings"), SPLIT.values(), ids=SPLIT)
def test_members_continue_as_in_the_whole_cohort(stack, settings, digits, cpu):
    """Any members in any order; finished ones may be absent."""
    models = cohort_of(**settings)
    training, states = CohortTraining(models, digits, cpu, ResourcesConfig(stack=stack)), {}
    while training.epoch < training.settings.epochs:
        training.run_epoch()
        states[training.epoch] = training.state()
    whole = training.trained()
    # A cohort that runs out of memory at its very end is not trained again.
    for split_after, members in ((1, [5, 0, 4]), (training.epoch, [0, 1])):
        memory = Memory()
        memory.save(state_of_members(states[split_after], members))
        chosen = [models[member] for member in members]
        for member, part in zip(members, train_cohort(chosen, digits, cpu, checkpoints=memory), strict=True):
            assert part.stack == min(stack, len(members))
            assert_same_weights(part, whole[member].weights, tolerance=1e-10)
            for column in HISTORY:
                ours, theirs = part.history[column], whole[member].history[column]
                torch.testing.assert_close(ours, theirs, equal_nan=True)


@pytest.fixture(scope="module")
def begun(digits, cpu):
    training = CohortTraining(cohort_of(width=4), digits, cpu, ResourcesConfig(stack=4))
    training.run_epoch()
    return training


@given(data=st.data())
def test_the_state_of_members_after_several_choices_is_theirs(data, begun):
    state, left = begun.state(), list(range(6))
    for _ in range(data.draw(st.integers(0, 3))):
        chosen = data.draw(st.lists(st.integers(0, len(left) - 1), min_size=1, max_size=6, unique=True))
        state, left = state_of_members(state, chosen), [left[member] for member in chosen]
    whole = begun.state()
    assert state.keys() == whole.keys()
    assert int(state["stack"]) == min(4, len(left))
    assert int(state["epoch"]) == 1
    assert state["history"].nan_to_num(-1).equal(whole["history"][:, :, left].nan_to_num(-1))
    for name in ("parameters/1.weight", "optimizer/exp_avg/1.weight", "optimizer/exp_avg_sq/3.bias"):
        assert state[name].equal(whole[name][left])
    assert all(state[name].data_ptr() != whole[name].data_ptr() for name in state)


@pytest.mark.parametrize("members", [[6], [-1], [0, 6]])
def test_unknown_members_are_refused(members, begun):
    with pytest.raises(IndexError):
        state_of_members(begun.state(), members)

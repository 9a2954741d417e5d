"""Training of cohorts: against an independent loop over ordinary modules, resumed, split, diverged, in bfloat16."""

import math
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import cohorts
from support.cohorts import CONVOLUTIONAL, INPUTS, OPTIMIZERS, SAM, SCHEDULES, assert_same_weights, cohort_of
from support.one_by_one import one_by_one
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import DistillationConfig, ResourcesConfig
from dbviz_ray.training import stack_size
from dbviz_ray.training.checkpoints import state_of_members
from dbviz_ray.training.cohort import CohortTraining, TrainedModel, train_cohort

DISTILLATION = {"soft and given": {"temperature": 2.0, "share": 0.3}, "hard": {"labels": "hard"}}
ONE_BY_ONE = (OPTIMIZERS | SCHEDULES | SAM | INPUTS) | {
    "last batch smaller": {"batch_size": 64},
    "batch norm, dropout": CONVOLUTIONAL,
    "batch norm, dropout, all at once": CONVOLUTIONAL | cohorts.ALL_AT_ONCE,
    **{name: {"distillation": DistillationConfig(recipe="t", **fields)} for name, fields in DISTILLATION.items()},
}


def teachers_of(models, data):
    """One for each student; none where the models are no students."""
    students = [model for model in models if model.training.distillation]
    networks = [initialised_network("fully_connected", 16, data.image_shape, 10, 7 + m.seeds.init) for m in students]
    return [network.double().eval() for network in networks]


@pytest.mark.parametrize("settings", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_a_cohort_trains_as_its_members_one_by_one(settings, digits, cpu):
    models = cohort_of(**settings)[1:4]
    rate = models[0].training.learning_rate
    models = cohorts.with_rates(models, rate, rate, 0.3 * rate)
    teachers = teachers_of(models, digits)
    cohort = train_cohort(models, digits, cpu, teachers=teachers, resources=cohorts.TOGETHER)
    for trained, teacher in zip(cohort, teachers or [None] * 3, strict=True):
        network, history = one_by_one(trained.config, digits, teacher)
        assert_same_weights(trained, network.state_dict(), tolerance=1e-10 if "width" in settings else 1e-12)
        for column, values in zip(("train_loss", "train_error"), zip(*history, strict=True), strict=True):
            assert trained.history[column].tolist() == pytest.approx(values, rel=1e-5, abs=1e-6)
        for split in ("train", "test"):
            images, labels = digits.split(split)
            with torch.no_grad():
                logits = network(digits.normalised(images, torch.float64))
            assert torch.equal(trained.predictions[split], logits.argmax(1))
        last = F.cross_entropy(logits, labels).item()
        assert trained.history["test_loss"][-1].item() == pytest.approx(last, rel=1e-5)
        assert trained.history["test_error"][-1].item() == pytest.approx((logits.argmax(1) != labels).double().mean())


RESUMED = {
    "sgd, drops, crop_flip": OPTIMIZERS["sgd"] | SCHEDULES["drops"] | INPUTS["crop_flip"],
    "sgd without momentum": OPTIMIZERS["sgd without momentum"],
    "adam, cosine, mixup": OPTIMIZERS["adam"] | SCHEDULES["cosine"] | INPUTS["mixup"],
    "adam with decay, adversary": OPTIMIZERS["adam with decay"] | INPUTS["adversary"],
    "sam over adamw, cutmix": SAM["sam over adamw"] | INPUTS["cutmix"],
    "all at once": cohorts.ALL_AT_ONCE | CONVOLUTIONAL,
    "distillation": {"distillation": DistillationConfig(recipe="teacher", share=0.5)},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize(("settings", "members"), [*((own, 4) for own in RESUMED.values()), (CONVOLUTIONAL, 1)],
                         ids=[*RESUMED, "dropout, batch norm, alone"])  # fmt: skip
def test_a_resumed_training_equals_an_uninterrupted_one_bit_by_bit(settings, members, digits, cpu):
    """In the stack that it began with, which is not one that would be measured; so it may be killed again."""
    models = cohort_of(**{"precision": "float32", "batch_size": 100} | settings)[:members]
    models = cohorts.with_rates(models, *[0.02, 0.01, 0.01, 0.01][:members])
    begun, resumes = ResourcesConfig(stack=min(3, members), checkpoint_seconds=0), ResourcesConfig(checkpoint_seconds=0)
    whole, memory, teachers = cohorts.Memory(), cohorts.Memory(), teachers_of(models, digits)
    train_cohort(models, digits, cpu, checkpoints=whole, teachers=teachers, resources=begun)
    memory.saved = whole.saved[:2]
    resumed = train_cohort(models, digits, cpu, checkpoints=memory, teachers=teachers, resources=resumes)
    assert len(memory.saved) == models[0].training.epochs  # no epoch was trained again
    assert {model.stack for model in resumed} == {begun.stack}
    torch.testing.assert_close(memory.saved[-1], whole.saved[-1], rtol=0, atol=0, equal_nan=True)


def test_a_checkpoint_of_another_version_is_left_out_and_said(digits, cpu):
    models = cohort_of()[:1]
    undisturbed = train_cohort(models, digits, cpu)
    memory = cohorts.killed_after(2, models, digits, cpu, resources=ResourcesConfig(checkpoint_seconds=0))
    memory.saved[-1].pop("history")
    remarks = []
    again = train_cohort(models, digits, cpu, checkpoints=memory, on_epoch=lambda t: remarks.append(t.remark))
    assert all(remarks)
    assert len(remarks) == models[0].training.epochs
    cohorts.assert_same_results(again, undisturbed)


def test_snapshots_hold_the_model_at_their_epochs_and_precede_the_checkpoint(digits, cpu):
    models = cohort_of(epochs=4, snapshots=(3, 1))[:2]
    memory, kept = cohorts.Memory(), []

    def keep(snapshots):
        kept.extend((len(memory.saved), snapshot) for snapshot in snapshots)

    resources = ResourcesConfig(stack=2, checkpoint_seconds=0)
    train_cohort(models, digits, cpu, checkpoints=memory, resources=resources, on_snapshot=keep)
    assert [(saved, snapshot.epoch) for saved, snapshot in kept] == [(0, 1), (0, 1), (2, 3), (2, 3)]
    for _, snapshot in kept:
        shorter = snapshot.config.training.model_copy(update={"epochs": snapshot.epoch, "snapshots": ()})
        network, history = one_by_one(snapshot.config.model_copy(update={"training": shorter}), digits)
        assert_same_weights(snapshot, network.state_dict())
        losses = snapshot.history["train_loss"]
        assert losses[: snapshot.epoch].tolist() == pytest.approx([loss for loss, _ in history], rel=1e-5)
        assert losses[snapshot.epoch :].isnan().all()  # future epochs are unknown


def test_the_test_error_is_evaluated_when_it_is_due(digits, cpu):
    history = train_cohort(cohort_of(epochs=5, evaluate_every=2)[:1], digits, cpu)[0].history
    assert history["test_error"].isnan().tolist() == [True, False, True, False, False]
    assert not history["train_error"].isnan().any()


def test_noisy_and_clean_training_errors_differ_by_the_noise(digits, cpu):
    models = cohort_of(width=64, epochs=100, precision="float32", learning_rate=0.01)[2:4]
    for trained in train_cohort(models, digits, cpu, resources=cohorts.TOGETHER):
        changed = (trained.given_labels != digits.train_labels).float().mean()
        assert changed == pytest.approx(trained.config.label_noise, abs=0.02)
        final = trained.history["train_error_clean"][-1] - trained.history["train_error"][-1]
        assert final.item() == pytest.approx(changed.item(), abs=0.03)


@pytest.mark.parametrize(("settings", "stack"), [(OPTIMIZERS["sgd"], 2), (SAM["sam over sgd"], 4)])
def test_a_member_that_diverges_leaves_the_others_alone(settings, stack, digits, cpu):
    models = cohort_of(**CONVOLUTIONAL | settings, batch_size=100, epochs=2)[:4]
    wild = [models[0], *cohorts.with_rates(models[1:2], 1e200), *models[2:]]
    trained = train_cohort(wild, digits, cpu, resources=ResourcesConfig(stack=stack))
    healthy = train_cohort(models, digits, cpu, resources=ResourcesConfig(stack=stack))
    assert not any(tensor.isfinite().all() for tensor in trained[1].weights.values() if tensor.is_floating_point())
    assert [model.diverged_epoch for model in trained] == [None, 1, None, None]
    for index in (0, 2, 3):
        assert_same_weights(trained[index], healthy[index].weights, tolerance=1e-10)


@pytest.mark.parametrize(
    ("train_loss", "test_loss", "epoch", "diverged"),
    [
        ([1.0, 0.5, 0.2], 0.3, 3, None),
        ([1.0, math.nan, math.nan], math.nan, 3, 2),
        ([1.0, math.inf, 3.0], 0.3, 3, 2),
        ([1.0, 0.5, 0.2], math.nan, 3, 3),  # in its last step
        ([1.0, math.nan, math.nan], math.nan, 1, None),  # a snapshot: future epochs are unknown
    ],
)
def test_the_epoch_in_which_a_model_diverged(train_loss, test_loss, epoch, diverged):
    history = {"train_loss": torch.tensor(train_loss), "test_loss": torch.tensor([math.nan, math.nan, test_loss])}
    config, none = cohort_of(epochs=3)[0], torch.empty(0)
    assert TrainedModel(config, epoch, {}, history, none, {}, math.nan, stack=1).diverged_epoch == diverged


def test_bfloat16_learns_as_well_and_keeps_float32_weights(digits, cpu):
    settings = CONVOLUTIONAL | {"width": 8, "epochs": 20}
    cohorts_of_both = (cohort_of(**settings, precision=precision)[:3] for precision in ("bfloat16", "float32"))
    trained, exact = (train_cohort(models, digits, cpu, resources=cohorts.TOGETHER) for models in cohorts_of_both)
    assert exact[0].history["test_error"][-1] < 0.3  # chance: 0.9
    a, b = (torch.stack([t.history["test_error"][-1] for t in of]).mean().item() for of in (trained, exact))
    assert abs(a - b) <= 2 * math.sqrt((a * (1 - a) + b * (1 - b)) / len(digits.test_labels)), "2 standard errors"
    assert {tensor.dtype for tensor in trained[0].weights.values()} <= {torch.float32, torch.int64}
    assert not torch.equal(trained[0].history["train_loss"], exact[0].history["train_loss"])


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_cohort_trains_as_an_eager_one_and_stays_compiled(digits, cpu, monkeypatch):
    models = cohort_of(**CONVOLUTIONAL, batch_size=100)[:2]
    eager = train_cohort(models, digits, cpu, resources=ResourcesConfig(stack=2))
    monkeypatch.setattr(stack_size, "WORTH_COMPILING", 0)
    monkeypatch.setattr(stack_size, "PREFERENCE", math.inf)  # however fast it is
    training, again = CohortTraining(models, digits, cpu), CohortTraining(models, digits, cpu, cohorts.TOGETHER)
    while training.epoch < training.settings.epochs:
        training.run_epoch()
    again.restore(training.state())
    assert (training.network.execution.compiles, again.network.execution.compiles) == (True, True)
    for one, other in zip(training.trained(), eager, strict=True):
        assert_same_weights(one, other.weights, tolerance=1e-9)


def test_models_of_different_shape_are_no_cohort(digits, cpu):
    with pytest.raises(ValueError, match="learning rate and teacher"):
        CohortTraining([cohort_of(width=4)[0], cohort_of(width=8)[0]], digits, cpu)


SPLIT = {
    "adam, drops": (6, OPTIMIZERS["adam"] | SCHEDULES["drops"]),
    "sgd without momentum, alone": (1, OPTIMIZERS["sgd without momentum"]),
    "batch norm, dropout, all at once": (4, CONVOLUTIONAL | cohorts.ALL_AT_ONCE | {"batch_size": 100}),
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
        memory = cohorts.Memory()
        memory.save(state_of_members(states[split_after], members))
        parts = train_cohort([models[member] for member in members], digits, cpu, checkpoints=memory)
        assert {part.stack for part in parts} == {min(stack, len(members))}
        cohorts.assert_same_results(parts, [whole[member] for member in members])


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
    assert (int(state["stack"]), int(state["epoch"])) == (min(4, len(left)), 1)
    assert state["history"].nan_to_num(-1).equal(whole["history"][:, :, left].nan_to_num(-1))
    for name in ("parameters/1.weight", "optimizer/exp_avg/1.weight", "optimizer/exp_avg_sq/3.bias"):
        assert state[name].equal(whole[name][left])
    assert all(state[name].data_ptr() != whole[name].data_ptr() for name in state)


@pytest.mark.parametrize("members", [[6], [-1], [0, 6]])
def test_unknown_members_are_refused(members, begun):
    with pytest.raises(IndexError):
        state_of_members(begun.state(), members)

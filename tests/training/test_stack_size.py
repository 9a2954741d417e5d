import pytest
import torch
from support.cohorts import batch_of, copies_of, pixel_limits
from torch import nn
from torch._inductor import config as inductor

from dbviz_ray.config import TrainingConfig
from dbviz_ray.training import stack_size
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.stack_size import choose, fastest_stack

MEMBERS, LARGEST_IS_FASTEST = 6, {6: 1.0, 3: 2.0, 2: 3.0, 1: 4.0}


class Machine(CohortNetwork):
    """A cohort on a machine with room for `largest_that_fits` members."""

    largest_that_fits = MEMBERS

    def prepare(self, batch):
        if self.stack > self.largest_that_fits:
            raise torch.OutOfMemoryError
        return super().prepare(batch)


@pytest.fixture
def machine():
    networks = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10)) for _ in range(MEMBERS)]
    return Machine(networks, TrainingConfig(), pixel_limits(), copies_of(networks), verifies=False)


@pytest.fixture
def batch(machine):
    return batch_of(machine, 8)


def pretend(monkeypatch, seconds):
    """Set how many seconds a step of each stack takes."""
    monkeypatch.setattr(stack_size, "_seconds", lambda run, *_: seconds[run.__self__.stack])


def test_the_chosen_stack_is_set_and_statistics_and_weights_do_not_change(machine, batch):
    machine.backward(batch)
    before = {name: t.clone() for name, t in (machine.parameters | machine.buffers).items()}
    assert before["2.num_batches_tracked"].tolist() == [1] * MEMBERS
    best = fastest_stack(machine, batch)
    assert best in (6, 3, 2, 1)
    assert machine.stack == best
    assert all(torch.equal(t, before[name]) for name, t in (machine.parameters | machine.buffers).items())


@pytest.mark.parametrize(
    ("seconds", "fits", "best"),
    [
        ({6: 4.0, 3: 3.0, 2: 2.0, 1: 1.0}, 6, 1),
        ({6: 4.0, 3: 2.0, 2: 3.0, 1: 4.0}, 6, 3),
        (LARGEST_IS_FASTEST, 6, 6),
        ({6: 2.0, 3: 1.99, 2: 1.98, 1: 1.97}, 6, 6),  # the gain is too small
        ({6: 2.0, 3: 9.0, 2: 9.0, 1: 1.0}, 6, 1),  # single members are always tried
        (LARGEST_IS_FASTEST, 5, 3),
        (LARGEST_IS_FASTEST, 2, 2),
        (LARGEST_IS_FASTEST, 1, 1),
    ],
)
def test_the_fastest_that_fits_is_chosen(seconds, fits, best, machine, batch, monkeypatch):
    pretend(monkeypatch, seconds)
    machine.largest_that_fits = fits
    assert fastest_stack(machine, batch) == best
    machine.largest_that_fits = 0
    with pytest.raises(torch.OutOfMemoryError):
        fastest_stack(machine, batch)


def test_one_stack_is_chosen_if_two_do_not_fit_side_by_side(machine, batch, monkeypatch):
    pretend(monkeypatch, LARGEST_IS_FASTEST)
    prepare, held = machine.prepare, set()

    def crowded(batch):
        held.add(machine.stack)
        if len(held) > 1:
            held.clear()
            raise torch.OutOfMemoryError
        return prepare(batch)

    monkeypatch.setattr(machine, "prepare", crowded)
    assert fastest_stack(machine, batch) == 6


def test_what_a_machine_has_chosen_stays(machine, batch, tmp_path):
    def chosen(batches, folder=tmp_path):
        choose(machine, iter(batches), 1, may_compile=False, key="a", folder=folder)
        return machine.stack

    first, (file,) = chosen([batch]), tmp_path.iterdir()
    machine.restack(6 if first == 1 else 1)
    assert chosen([]) == first, "another stack might be faster now"
    for damaged in ('{"stack": 0, "compiled": false}', "[]", ""):
        file.write_text(damaged)
        assert chosen([batch]) == chosen([])
    assert chosen([batch], folder=file) in (6, 3, 2, 1), "which is no folder"


@pytest.mark.parametrize(("steps", "fastest"), [(1, 0), (1000, 8)])
def test_members_share_convolutions_where_that_is_worth_measuring_and_faster(steps, fastest, batch, monkeypatch):
    settings = TrainingConfig(precision="bfloat16")
    networks = [nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)) for _ in range(2)]
    cohort = CohortNetwork(networks, settings, pixel_limits(), copies_of(networks), verifies=False)
    seconds = {0: 3.0, 8: 1.0, 16: 2.0}
    monkeypatch.setattr(stack_size, "_seconds", lambda *_: seconds[cohort.execution.channels])
    choose(cohort, iter([batch_of(cohort, 8)]), steps, may_compile=False, key="a")
    assert cohort.manner.channels == fastest


def test_without_a_compiler_compiled_steps_run_uncompiled(machine, batch):
    right, _ = machine.backward(batch)
    machine.execute(machine.execution.but(compiles=True))
    with inductor.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        found, _ = machine.backward(batch)
    assert not machine.execution.compiles
    assert all(torch.equal(gradient, right[name]) for name, gradient in found.items())


def test_a_compiled_step_that_is_not_faster_is_not_chosen(machine, batch, monkeypatch):
    monkeypatch.setattr(stack_size, "WORTH_COMPILING", 0)
    monkeypatch.setattr(stack_size, "PREFERENCE", 0)
    choose(machine, iter([batch]), 1, may_compile=True, key="a")
    assert not machine.execution.compiles

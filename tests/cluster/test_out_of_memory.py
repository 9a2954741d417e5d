"""Training on a device with too little memory, imitated by a limit on allocations."""

import pytest
import torch
from support.cohorts import OPTIMIZERS, Memory, assert_same_results, cohort_of, killed_after

from dbviz_ray.config import ResourcesConfig
from dbviz_ray.training.allocations import AllocationCounter
from dbviz_ray.training.cohort import CohortTraining, train_cohort

MEMBERS = 4


class SmallDevice(AllocationCounter):
    """A device with `limit` free bytes."""

    def __init__(self, limit):
        super().__init__("cpu")
        self.limit = limit
        self.refused = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if self.live > self.limit:
            del result
            self.refused += 1
            raise torch.AcceleratorError("CUDA error: out of memory")  # as CUDA says it outside of torch's allocator
        return result


def models_of(**settings):
    models = cohort_of("support.user_networks:convolutional", 4, **OPTIMIZERS["adam"] | {"epochs": 3} | settings)
    return models[:MEMBERS]


def peak_of_an_epoch(models, data, device, stack):
    """Peak memory in bytes."""
    with AllocationCounter("cpu") as counter:
        CohortTraining(models, data, device, ResourcesConfig(stack=stack)).run_epoch()
    return counter.peak


@pytest.fixture(scope="module")
def models():
    """Steps take more memory than evaluations of 200 images."""
    return models_of(batch_size=100, evaluate_every=3)


@pytest.fixture(scope="module")
def free(models, digits, cpu):
    """The models trained on a large enough device."""
    return train_cohort(models, digits, cpu, resources=ResourcesConfig(stack=MEMBERS))


@pytest.fixture(scope="module")
def room_for(models, digits, cpu):
    """Peak memory in bytes, by the number of members computed together."""
    return {stack: peak_of_an_epoch(models, digits, cpu, stack) for stack in (MEMBERS, 2, 1)}


@pytest.fixture(scope="module")
def begun(models, digits, cpu):
    """A checkpoint after the first epoch of the models, one at a time."""
    return killed_after(2, models, digits, cpu, resources=ResourcesConfig(stack=1, checkpoint_seconds=0)).load()


@pytest.mark.parametrize(
    ("asked", "fits", "goes_on"), [(MEMBERS, 2, False), (MEMBERS, 1, False), (None, 2, False), (MEMBERS, 2, True)]
)
def test_members_that_do_not_fit_are_computed_apart(asked, fits, goes_on, models, free, room_for, digits, cpu):
    resources = ResourcesConfig(stack=asked, checkpoint_seconds=0)
    memory = killed_after(2, models, digits, cpu, resources=resources) if goes_on else None
    with SmallDevice(1.1 * room_for[fits]) as device:
        small = train_cohort(models, digits, cpu, resources=resources, checkpoints=memory)
    assert device.refused
    assert {model.stack for model in small} <= ({fits} if asked else {fits, 1})
    assert_same_results(small, free)


def test_evaluations_and_sharpness_take_fewer_images_where_all_do_not_fit(digits, cpu):
    models = models_of(batch_size=20, evaluate_every=2, epochs=2)  # whose steps take less memory than these
    free = train_cohort(models, digits, cpu, resources=ResourcesConfig(stack=1))
    with SmallDevice(1.1 * peak_of_an_epoch(models, digits, cpu, 1)) as device:  # without an evaluation
        small = train_cohort(models, digits, cpu, resources=ResourcesConfig(stack=1))
    assert device.refused > 2
    assert_same_results(small, free)


@pytest.mark.parametrize("share", [0.01, 0.9])
def test_what_never_fits_raises_and_leaves_checkpoints_alone(share, models, begun, room_for, digits, cpu):
    memory = Memory()
    memory.save(begun)
    with pytest.raises(torch.OutOfMemoryError), SmallDevice(share * room_for[1]):
        train_cohort(models, digits, cpu, resources=ResourcesConfig(checkpoint_seconds=0), checkpoints=memory)
    assert len(memory.saved) == 1
    assert memory.saved[0] is begun

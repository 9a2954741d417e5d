"""Stacked training against an independent loop over ordinary modules, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import small_sweep
from test_datasets import write_cifar10
from torch.nn import functional as F

from dbviz_ray.architectures import build_network, initialised_network
from dbviz_ray.cohort import stack
from dbviz_ray.datasets import load_dataset, noisy_labels
from dbviz_ray.seeds import torch_generator
from dbviz_ray.training import HISTORY, CohortTraining, train_cohort

OPTIMIZERS = {
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "adam with decay": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
}


def digits_cohort(width=16, epochs=3, **training):
    settings = {"epochs": epochs, "batch_size": 64, "precision": "float64"} | training
    sweep = small_sweep(grid={"width": [width], "label_noise": [0.0, 0.2], "seed": [0, 1, 2]}, training=settings)
    return sweep.cohorts()[0].models


def one_by_one(model, data):
    """An ordinary training loop; returns the module and per-epoch (loss, error) on the given labels."""
    settings = model.training
    network = initialised_network(model.architecture, model.width, data.image_shape, 10, model.seeds.init).double()
    given = noisy_labels(data.train_labels, 10, model.label_noise, model.seeds.label_noise)
    images = data.normalised(data.train_images, torch.float64)
    if settings.optimizer == "adam":
        optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            network.parameters(), settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
        )
    history = []
    for epoch in range(settings.epochs):
        network.train()
        order = torch.randperm(len(given), generator=torch_generator("cpu", "order", model.seeds.order, epoch))
        losses, wrong = 0.0, 0
        for batch in order.split(settings.batch_size):
            logits = network(images[batch])
            loss = F.cross_entropy(logits, given[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(batch)
            wrong += (logits.argmax(1) != given[batch]).sum().item()
        history.append((losses / len(given), wrong / len(given)))
    return network.eval(), history


@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_stacked_training_equals_training_one_by_one(settings, digits, cpu):
    models = digits_cohort(**settings)
    for trained in train_cohort(models, digits, cpu):
        network, history = one_by_one(trained.config, digits)
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(trained.weights[name], tensor, rtol=0, atol=1e-12)
        with torch.no_grad():
            logits = network(digits.normalised(digits.test_images, torch.float64))
        assert torch.equal(trained.predictions["test"], logits.argmax(1))
        for epoch, (loss, error) in enumerate(history):
            assert trained.history["train_loss"][epoch].item() == pytest.approx(loss, rel=1e-5)
            assert trained.history["train_error"][epoch].item() == pytest.approx(error, abs=1e-6)
        assert trained.history["test_loss"][-1].item() == pytest.approx(
            F.cross_entropy(logits, digits.test_labels).item(), rel=1e-5
        )


def test_stacked_gradients_equal_autograd_with_batch_norm():
    shape, members = (3, 8, 8), 3
    networks = [initialised_network("resnet18_width", 2, shape, 10, seed).double() for seed in range(members)]
    references = [initialised_network("resnet18_width", 2, shape, 10, seed).double().train() for seed in range(members)]
    cohort = stack(networks)
    generator = torch.Generator().manual_seed(0)
    for batch in (8, 8, 5):
        images = torch.randn(members, batch, *shape, dtype=torch.float64, generator=generator)
        labels = torch.randint(10, (members, batch), generator=generator)
        logits = cohort.backward(images, labels)
        for member, reference in enumerate(references):
            reference.zero_grad()
            own = reference(images[member])
            F.cross_entropy(own, labels[member]).backward()
            torch.testing.assert_close(logits[member], own.detach(), rtol=1e-9, atol=1e-9)
            for name, parameter in reference.named_parameters():
                torch.testing.assert_close(cohort.parameters[name].grad[member], parameter.grad, rtol=1e-8, atol=1e-9)
            for name, buffer in reference.named_buffers():
                torch.testing.assert_close(cohort.buffers[name][member], buffer)
    images = torch.randn(4, *shape, dtype=torch.float64, generator=generator)
    for member, reference in enumerate(references):
        torch.testing.assert_close(cohort.predict(images)[member], reference.eval()(images))


def test_resnet_on_cifar_with_augmentation_does_not_depend_on_its_cohort(tmp_path, cpu):
    write_cifar10(tmp_path, images_per_file=10)
    sweep = small_sweep(
        dataset={"name": "cifar10"},
        grid={"architecture": ["resnet18_width"], "width": [1], "label_noise": [0.2], "seed": [0, 1, 2]},
        training={"epochs": 2, "batch_size": 20, "augmentation": "crop_flip", "precision": "float64"},
    )
    data = load_dataset(sweep.dataset, str(tmp_path))
    models = sweep.models()
    together = train_cohort(models, data, cpu)
    for members in ([0], [2, 0]):
        for trained in train_cohort([models[m] for m in members], data, cpu):
            twin = together[models.index(trained.config)]
            for name, tensor in trained.weights.items():
                torch.testing.assert_close(tensor, twin.weights[name], rtol=1e-6, atol=1e-8)


class Memory:
    """Checkpoints in memory; `load` gives a copy of what was saved last."""

    def __init__(self):
        self.saved = []

    def load(self):
        return {name: tensor.clone() for name, tensor in self.saved[-1].items()} if self.saved else None

    def save(self, state):
        self.saved.append(state)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("members", [1, 6])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_by_bit(settings, members, digits, cpu):
    models = digits_cohort(epochs=5, precision="float32", **settings)[:members]
    undisturbed = train_cohort(models, digits, cpu)
    memory = Memory()

    def kill(training):
        if training.epoch in pending:
            pending.remove(training.epoch)
            raise KilledError

    pending = [2, 4]
    while pending:
        with pytest.raises(KilledError):
            train_cohort(models, digits, cpu, checkpoints=memory, checkpoint_seconds=0, on_epoch=kill)
        memory.saved.pop()  # the last save is lost as well: an epoch is done again
    resumed = train_cohort(models, digits, cpu, checkpoints=memory, checkpoint_seconds=0)
    assert len(memory.saved) == 5  # epochs 1; 2, 3; 4, 5: nothing was trained from the start again
    for one, other in zip(undisturbed, resumed, strict=True):
        assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())
        assert all(torch.equal(one.history[c], other.history[c]) for c in HISTORY)


def test_training_twice_gives_the_same_bits(digits, cpu):
    first, second = (train_cohort(digits_cohort(precision="float32"), digits, cpu) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())


def test_test_error_is_evaluated_where_it_is_due(digits, cpu):
    models = digits_cohort(epochs=5, evaluate_every=2)
    history = train_cohort(models, digits, cpu)[0].history
    assert history["test_error"].isnan().tolist() == [True, False, True, False, False]
    assert not history["train_error"].isnan().any()


def test_noisy_and_clean_training_errors_differ_by_the_noise(digits, cpu):
    models = digits_cohort(width=64, epochs=100, batch_size=20, precision="float32")
    for trained in train_cohort(models, digits, cpu):
        changed = (trained.given_labels != digits.train_labels).float().mean()
        assert changed == pytest.approx(trained.config.label_noise, abs=0.02)
        final = trained.history["train_error_clean"][-1] - trained.history["train_error"][-1]
        assert final.item() == pytest.approx(changed.item(), abs=0.03)


def test_a_diverged_model_says_so(digits, cpu):
    models = digits_cohort(optimizer="sgd", learning_rate=1e30, precision="float32", epochs=4)
    assert all(trained.diverged for trained in train_cohort(models, digits, cpu))


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(digits, cpu):
    models = digits_cohort(precision="bfloat16")
    trained = train_cohort(models, digits, cpu)[0]
    exact = train_cohort(digits_cohort(precision="float32"), digits, cpu)[0]
    assert all(tensor.dtype == torch.float32 for tensor in trained.weights.values())
    difference = abs(trained.history["train_loss"][-1] - exact.history["train_loss"][-1]).item()
    assert 0 < difference < 0.1
    assert math.isfinite(trained.history["test_loss"][-1])


def test_models_of_different_shape_are_no_cohort(digits, cpu):
    with pytest.raises(ValueError, match="differ in seeds and label noise only"):
        CohortTraining([digits_cohort(width=4)[0], digits_cohort(width=8)[0]], digits, cpu)


@pytest.mark.parametrize("members", [1, 3])
def test_a_users_network_with_frozen_tied_and_unsaved_tensors(members, digits, cpu):
    sweep = small_sweep(
        grid={"architecture": ["user_networks:quirky"], "width": [6], "seed": [0, 1, 2]},
        training={"epochs": 2, "batch_size": 64, "precision": "float64"},
    )
    for trained in train_cohort(sweep.models()[:members], digits, cpu):
        network, _ = one_by_one(trained.config, digits)
        fresh = build_network("user_networks:quirky", 6, (1, 8, 8), 10).double()
        fresh.load_state_dict(trained.weights)  # the names are those of its own state_dict
        start = initialised_network("user_networks:quirky", 6, (1, 8, 8), 10, trained.config.seeds.init)
        assert torch.equal(trained.weights["features.weight"], start.double().features.weight)
        assert not torch.equal(trained.weights["first.weight"], start.first.weight)
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(trained.weights[name], tensor, rtol=0, atol=1e-12)


def test_a_model_that_blows_up_in_its_last_step_has_diverged(digits, cpu):
    models = digits_cohort(optimizer="sgd", learning_rate=1e38, precision="float32", epochs=1, batch_size=200)
    for trained in train_cohort(models, digits, cpu):
        assert math.isfinite(trained.history["train_loss"][-1])
        assert trained.diverged

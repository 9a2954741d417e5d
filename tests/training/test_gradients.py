"""What a step, its layers and the sharpness compute: against autograd on ordinary modules, and by hand; its draws."""

import copy
from itertools import repeat

import pytest
import torch
from conftest import small_sweep
from support.cohorts import batch_of, copies_of, pixel_limits
from support.one_by_one import replace_dropout
from support.small_networks import SMALL
from torch import nn
from torch.nn import functional as F

from dbviz_ray.architectures import convolutional, initialised_network
from dbviz_ray.config import AdversaryConfig, DistillationConfig, TrainingConfig
from dbviz_ray.config.seeds import torch_generator
from dbviz_ray.training import gradients
from dbviz_ray.training.batches import Batches
from dbviz_ray.training.gradients import IMAGES, LABELS, START, cross_entropy
from dbviz_ray.training.layers import mask_shapes, with_masked_dropout
from dbviz_ray.training.network import CohortNetwork, StackedState
from dbviz_ray.training.optimizers import schedule_factor
from dbviz_ray.training.sharpness import RADIUS, sharpness

SHAPE, CLASSES = (1, 8, 8), 10


@pytest.fixture
def scores():
    """Logits of students and teachers, and labels."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = 3 * torch.randn(2, 3, 7, CLASSES, dtype=torch.float64, generator=generator)
    return logits, teacher, torch.randint(CLASSES, (3, 7), generator=generator)


def test_cross_entropy_of_bfloat16_scores_is_computed_in_float32(scores):
    logits, _, labels = scores
    rounded = logits.bfloat16()
    loss = cross_entropy(rounded, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(rounded.float(), labels))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_diverged_teacher_spoils_only_its_own_student(kind, scores):
    logits, teacher, labels = scores
    teacher[1, 2] = float("nan")
    settings = DistillationConfig(recipe="teacher", labels=kind)
    gradient = torch.func.grad(lambda own: gradients.training_loss(own, labels, teacher, settings))(logits)
    assert [own.isfinite().all().item() for own in gradient] == [True, False, True]


def members_of(architecture, count=2):
    """Networks in which every parameter matters; some heads would start at zero."""
    width, options = SMALL.get(architecture, (2, {}))
    if architecture == "vit":
        options = options | {"dropout": 0.2}
    torch.manual_seed(0)
    members = [initialised_network(architecture, width, SHAPE, CLASSES, options=options).double() for _ in range(count)]
    with torch.no_grad():
        for parameter in (p for member in members for p in member.parameters()):
            parameter += 0.1 * torch.randn_like(parameter)
    return members


# torch warns if an operation has no batching rule: the members then run one after the other.
@pytest.mark.filterwarnings("error:There is a performance drop")
@pytest.mark.parametrize("architecture", SMALL)
def test_gradients_of_every_family_equal_those_of_members_alone(architecture, monkeypatch):
    monkeypatch.setattr(convolutional, "DENSENET_LAYERS", (2, 2))  # the code of 121 layers, in a tenth of the time
    monkeypatch.setattr(convolutional, "RESNET18_BLOCKS", 1)
    members = members_of(architecture)
    cohort = CohortNetwork(copy.deepcopy(members), TrainingConfig(), pixel_limits(-9.0, 9.0, 1.0), copies_of(members))
    assert bool(cohort.mask_shapes(torch.zeros(6, *SHAPE, dtype=torch.float64))) == (architecture == "vit")
    batch = batch_of(cohort, 6, seed=6)
    found, logits = cohort.backward(batch)
    for member, reference in enumerate(members):
        replace_dropout(reference.train(), repeat(torch_generator("cpu", "dropout", member, 6)).__next__)
        alone = reference(batch[IMAGES][member])
        F.cross_entropy(alone, batch[LABELS][member]).backward()
        torch.testing.assert_close(logits[member], alone.detach(), rtol=1e-9, atol=1e-9)
        for name, parameter in reference.named_parameters():
            torch.testing.assert_close(found[name][member], parameter.grad, rtol=1e-8, atol=1e-9)
        for name, buffer in reference.named_buffers():
            torch.testing.assert_close(cohort.buffers[name][member], buffer)


def test_a_perturbation_is_as_long_as_its_radius_for_each_member():
    parameters = {"w": torch.zeros(3, 2), "b": torch.ones(3)}
    ascent = {"w": torch.tensor([[2.0, 4.0], [0.0, 0.0], [0.0, 0.0]]), "b": torch.tensor([4.0, -5.0, 0.0])}
    moved = gradients.perturbed(parameters, ascent, 3.0)
    torch.testing.assert_close(moved["w"], torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(moved["b"], torch.tensor([3.0, -2.0, 1.0]))


def by_hand(network, images, labels):
    """Autograd on an ordinary module, its weights moved and moved back."""
    network = copy.deepcopy(network).eval()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in network.parameters()]).norm()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += RADIUS * parameter.grad / norm
        return (F.cross_entropy(network(images), labels) - loss).item()


@pytest.mark.parametrize("architecture", ["fully_connected", "resnet18_width"])
def test_sharpness_of_every_member_is_its_own(architecture):
    networks = [initialised_network(architecture, 2, (1, 8, 8), 10, seed).double() for seed in range(3)]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 1, 8, 8, dtype=torch.float64, generator=generator)  # more than one batch
    labels = torch.randint(10, (3, 300), generator=generator)
    expected = [by_hand(network, images, own) for network, own in zip(networks, labels, strict=True)]
    assert sharpness(StackedState(networks), images, labels).tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ("drops", 100, {0: 1, 151: 1, 152: 0.1, 251: 0.1, 252: 0.01, 351: 0.01, 352: 0.001, 399: 0.001}),
        ("drops", 8, {11: 1, 12: 0.1, 19: 0.1, 20: 0.01, 27: 0.01, 28: 0.001}),  # after 3, 5 and 7 epochs of 4 steps
        ("inverse_sqrt", 500, {0: 1, 511: 1, 512: 0.5**0.5, 1024: (1 / 3) ** 0.5, 1535: (1 / 3) ** 0.5, 1536: 0.5}),
    ],
)
def test_schedules_by_hand(schedule, epochs, expected):
    settings = TrainingConfig(schedule=schedule, epochs=epochs)
    made = {step: schedule_factor(settings, step, steps_per_epoch=4) for step in expected}
    assert made == pytest.approx(expected)


NORMS = {
    "1d": (nn.BatchNorm1d(4), (6, 4)),
    "1d of sequences": (nn.BatchNorm1d(4), (6, 4, 5)),
    "2d": (nn.BatchNorm2d(4), (6, 4, 5, 3)),
    "3d": (nn.BatchNorm3d(4), (3, 4, 2, 3, 2)),
    "other constants": (nn.BatchNorm2d(4, eps=0.1, momentum=0.5), (6, 4, 5, 3)),
}
DROPOUTS = {
    "elementwise": (nn.Dropout(0.3), (5, 4, 3, 3), (5, 4, 3, 3)),
    "of features": (nn.Dropout(0.3), (5, 4), (5, 4)),
    "of channels, 1d": (nn.Dropout1d(0.3), (5, 4, 3), (5, 4, 1)),
    "of channels, 2d": (nn.Dropout2d(0.3), (5, 4, 3, 3), (5, 4, 1, 1)),
}
PRODUCTS = {
    "linear over tokens": (nn.Linear(4, 3), (6, 5, 4)),
    "convolution, 1d": (nn.Conv1d(4, 3, 3), (6, 4, 8)),
    "convolution, 2d": (nn.Conv2d(4, 3, 3), (6, 4, 8, 8)),
    "transposed convolution": (nn.ConvTranspose2d(4, 3, 3), (6, 4, 8, 8)),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("norm", "shape"), NORMS.values(), ids=NORMS)
def test_folded_batch_norm_is_torchs(norm, shape, training):
    torch.manual_seed(0)
    members = [copy.deepcopy(norm).double() for _ in range(3)]
    for tensor in (tensor for member in members for tensor in member.state_dict().values() if tensor.ndim):
        nn.init.uniform_(tensor, 0.5, 2)
    state = StackedState([nn.Sequential(member) for member in members])
    inputs = torch.randn(3, *shape, dtype=torch.float64)
    weights = torch.randn(shape, dtype=torch.float64)

    def weighted(parameters, images, buffers):
        outputs = state.forward(parameters, buffers, images, training=training)
        return (outputs * weights).sum(), outputs

    gradients, outputs = torch.func.grad(weighted, (0, 1), has_aux=True)(state.parameters, inputs, state.buffers)
    of_parameters, of_inputs = gradients
    for index, member in enumerate(members):
        own = inputs[index].clone().requires_grad_()
        alone = member.train(training)(own)
        (alone * weights).sum().backward()
        torch.testing.assert_close(outputs[index], alone)
        torch.testing.assert_close(of_inputs[index], own.grad)
        for name, parameter in member.named_parameters():
            torch.testing.assert_close(of_parameters[f"0.{name}"][index], parameter.grad)
        for name, buffer in member.named_buffers():
            torch.testing.assert_close(state.buffers[f"0.{name}"][index], buffer)


def test_folded_batch_norm_under_autocast_keeps_float32_statistics():
    torch.manual_seed(0)
    members = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)) for _ in range(2)]
    images = torch.randn(2, 8, 3, 6, 6)
    exact, rounded = StackedState(copy.deepcopy(members)), StackedState(members, torch.bfloat16)
    outputs = [s.forward(s.parameters, s.buffers, images, training=True) for s in (exact, rounded)]
    assert outputs[1].dtype == torch.bfloat16
    torch.testing.assert_close(outputs[1].float(), outputs[0], rtol=0, atol=0.05)
    assert rounded.buffers["1.running_var"].dtype == torch.float32
    torch.testing.assert_close(rounded.buffers["1.running_var"], exact.buffers["1.running_var"], rtol=0.01, atol=0)


@pytest.mark.parametrize(("layer", "shape"), PRODUCTS.values(), ids=PRODUCTS)
def test_stacked_networks_compute_in_the_same_precision_as_each_alone(layer, shape):
    torch.manual_seed(0)
    members = [copy.deepcopy(layer) for _ in range(2)]
    state = StackedState(members, torch.bfloat16)
    images = torch.randn(2, *shape)
    outputs = state.forward(state.parameters, state.buffers, images, training=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = torch.stack([member(own) for member, own in zip(members, images, strict=True)])
    assert outputs.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(outputs, expected, rtol=0.016, atol=0.008)  # the last of 8 bits


@pytest.mark.parametrize(("layer", "shape", "mask_shape"), DROPOUTS.values(), ids=DROPOUTS)
def test_masked_dropout_does_what_torchs_does(layer, shape, mask_shape):
    network = with_masked_dropout(nn.Sequential(copy.deepcopy(layer)))
    x = torch.rand(shape) + 1
    assert mask_shapes(network, x) == {"0.mask": (0.3, mask_shape)}
    torch.manual_seed(1)
    dropped = layer.train()(x)
    # torch's own mask, wherever a channel or a pixel survived
    survived = (dropped != 0).flatten(2).any(2).view(mask_shape) if mask_shape != shape else dropped != 0
    network[0].mask = survived / 0.7
    torch.testing.assert_close(network.train()(x), dropped)
    assert torch.equal(network.eval()(x), x)


def test_a_layer_under_two_names_has_two_masks():
    dropout = nn.Dropout(0.5)
    network = with_masked_dropout(nn.Sequential(nn.Flatten(), dropout, nn.Linear(64, 8), dropout, nn.Linear(8, 10)))
    shapes = {"1.mask": (0.5, (3, 64)), "3.mask": (0.5, (3, 8))}
    assert mask_shapes(network, torch.zeros(3, 1, 8, 8)) == shapes


EVERYTHING = {"augmentation": "crop_flip", "mixing": "cutmix", "adversary": AdversaryConfig().model_dump()}
MASKS = {"a": (0.25, (3,)), "b": (0.5, (2, 4))}


def models_of(seeds=(0, 1, 2), **training):
    grid = {"width": [4], "seed": [0]} | {stream: list(values) for stream, values in seeds.items()}
    return small_sweep(grid=grid, training={"batch_size": 64} | training, scores=["fragmentation"]).models()


def epoch_of(models, data, masks=MASKS):
    shapes = lambda images: {name: (p, (len(images), *shape)) for name, (p, shape) in masks.items()}  # noqa: E731
    batches = Batches(models, data, torch.device("cpu"), torch.float32, shapes)
    draws = batches.draws(5)
    return list(batches.epoch(5, draws, data.train_labels.expand(len(models), -1).gather(1, draws.order)))


@pytest.mark.parametrize(
    ("stream", "depending"),
    [
        ("init_seed", set()),
        ("order_seed", {IMAGES, LABELS}),
        ("augmentation_seed", {IMAGES, LABELS, START}),
        ("dropout_seed", {"a", "b"}),
        ("label_noise_seed", set()),
        ("train_set_seed", {IMAGES, LABELS}),
    ],
)
def test_each_seed_changes_only_its_own_streams(stream, depending, digits):
    models = models_of({stream: (3, 4)}, **EVERYTHING)
    for batch in epoch_of(models, digits):
        assert {name for name, tensor in batch.items() if not torch.equal(tensor[0], tensor[1])} == depending
        assert all(tensor.clone().stride() == tensor.stride() for tensor in batch.values()), "for compiled steps"


def test_a_mask_that_drops_everything_is_zero(digits):
    assert not epoch_of(models_of({"seed": (0,)}), digits, masks={"m": (1.0, (5,))})[0]["m"].any()

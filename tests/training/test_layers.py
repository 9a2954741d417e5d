import copy

import pytest
import torch
from torch import nn

from dbviz_ray.training.layers import mask_shapes, with_masked_dropout
from dbviz_ray.training.network import StackedState

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

import pytest
import torch
from support.random_planes import random_planes
from support.refusals import refused
from torch import nn

from dbviz_ray.architectures import initialised_network
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.planes import GridPoints


@pytest.mark.parametrize("batch_points", [1, 7, 12, 40, 144, 300, 10_000])
def test_probabilities_are_the_softmax_of_the_scores_and_the_batch_does_not_matter(batch_points, cpu):
    network = initialised_network("fully_connected", 16, (1, 8, 8), 10, seed=1).double()
    planes = random_planes(5, 12)
    labelled = label_planes(network, planes, cpu, probabilities=True, batch_points=batch_points)
    [(_, _, points)] = GridPoints(planes, cpu, torch.float64).batches(10_000)
    with torch.no_grad():
        scores = network(points).view(5, 12, 12, 10)
    assert torch.equal(labelled.labels, scores.argmax(3).to(torch.uint8))
    assert labelled.probabilities.dtype == torch.float16
    torch.testing.assert_close(labelled.probabilities.double(), scores.softmax(3), rtol=1e-3, atol=1e-6)
    ranked = labelled.probabilities.float().gather(3, labelled.labels.long()[..., None])[..., 0]
    assert torch.equal(ranked, labelled.probabilities.float().amax(3))
    unasked = label_planes(network, planes, cpu, batch_points=batch_points)
    assert torch.equal(unasked.labels, labelled.labels)
    assert unasked.probabilities is None


def test_labels_in_bfloat16_are_those_of_autocast_and_the_network_is_as_before(cpu):
    network = initialised_network("resnet18_width", 2, (3, 8, 8), 10, seed=1).eval()
    planes = random_planes(9, 9, (3, 8, 8))
    exact = label_planes(network, planes, cpu).labels
    [(_, _, points)] = GridPoints(planes, cpu, torch.float32).batches(10_000)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = network(points).argmax(1).view(9, 9, 9)
    assert torch.equal(label_planes(network, planes, cpu, half=True).labels, expected.to(torch.uint8))
    assert torch.equal(label_planes(network, planes, cpu).labels, exact)


def test_scores_that_a_half_cannot_hold_have_probabilities_all_the_same(cpu):
    """Scores of 1e5 are infinite in float16; the softmax is taken before."""
    network = lambda images: torch.tensor([[1e5, 1e5, 0.0]]).expand(len(images), -1)  # noqa: E731
    labelled = label_planes(network, random_planes(2, 4, (1, 2, 2)), cpu, probabilities=True)
    assert labelled.probabilities.unique().tolist() == [0, 0.5]


def test_hooks_subclasses_and_replaced_methods_of_linear_layers_are_honoured(cpu):
    class Negated(nn.Linear):
        def forward(self, x):
            return -super().forward(x)

    planes = random_planes(2, 6, (1, 8, 8))
    negated = nn.Sequential(nn.Flatten(), Negated(64, 10), nn.Tanh()).double()
    hooked, replaced = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh()).double() for _ in range(2))
    hooked[1].register_forward_hook(lambda _module, _inputs, output: -output)
    replaced.forward = lambda x: -replaced[1](replaced[0](x))
    plain, last = (nn.Sequential(*negated[:1], nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 4, bias=False)) for _ in "12")
    last[3].register_forward_hook(lambda _module, _inputs, output: -output)
    for network in (negated, hooked, replaced, plain.double(), last.double()):
        assert torch.equal(*(label_planes(of, planes, cpu).labels for of in (network, lambda x: network(x.double()))))  # noqa: B023


def test_a_module_is_evaluated_in_evaluation_mode_and_left_as_it_was(cpu):
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(64, 10), nn.BatchNorm1d(10))
    network[3].eval()
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    planes = random_planes(2, 6, (1, 8, 8))
    assert torch.equal(label_planes(network, planes, cpu).labels, label_planes(network, planes, cpu).labels)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("classes", "dtype"), [(256, torch.uint8), (257, torch.uint16), (2**16, torch.uint16)])
def test_labels_hold_every_class(classes, dtype, cpu):
    planes = random_planes(2, 5, (1, 2, 2))
    maps = label_planes(lambda images: torch.arange(float(classes)).expand(len(images), -1), planes, cpu).labels
    assert maps.dtype == dtype
    assert (maps.numpy() == classes - 1).all()


def test_scores_that_are_no_row_for_each_image_are_refused(cpu):
    planes = random_planes(2, 5, (1, 2, 2))
    for scores in (torch.zeros(10), torch.tensor(1.0)):  # those of one image, for many
        refused(label_planes, lambda _, scores=scores: scores, planes, cpu)
    refused(label_planes, lambda _: torch.zeros(10), planes, cpu, batch_points=1)
    refused(label_planes, lambda images: torch.zeros(len(images), 2**16 + 1), planes, cpu)


@pytest.mark.parametrize("fail", [lambda: torch.empty(2**60), lambda: bytearray(2**60)], ids=["torch", "Python"])
def test_a_batch_that_does_not_fit_is_halved(fail, cpu):
    planes = random_planes(3, 10, (1, 8, 8))
    network = initialised_network("fully_connected", 4, (1, 8, 8), 10, 0)
    sizes = []

    def small_machine(images):
        sizes.append(len(images))
        if len(images) > 40:
            fail()
        return network(images)

    with torch.no_grad():
        maps = label_planes(small_machine, planes, cpu, batch_points=200).labels
    assert max(sizes) > 40
    assert torch.equal(maps, label_planes(network, planes, cpu).labels)
    with pytest.raises(torch.OutOfMemoryError):
        label_planes(lambda images: small_machine(images.repeat(41, 1, 1, 1)), planes, cpu)

"""Networks of every family: their parameters, shapes and initial weights, and what cannot be built; class scores."""

import sys
from types import SimpleNamespace

import pytest
import torch
from support.refusals import refused
from support.small_networks import SMALL
from torch import nn
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network, timm_builder
from dbviz_ray.architectures.outputs import NoScoresError, logits_of
from dbviz_ray.architectures.patches import SelfAttention
from dbviz_ray.errors import FieldError

CIFAR, DIGITS = (3, 32, 32), (1, 8, 8)


def parameters(architecture, width, image_shape=CIFAR, **options):
    with torch.device("meta"):
        network = initialised_network(architecture, width, image_shape, 10, options=options)
    return sum(p.numel() for p in network.parameters())


# Published: kuangliu/pytorch-cifar has 11,173,962 (ResNet18), 11,171,146 (PreActResNet18), 6,956,298 (DenseNet121) and
# 20,040,522 (VGG19); Zagoruyko & Komodakis have 0.4 (k = 1), 5.9 (k = 4) and 36.5 (k = 10) million. Those of
# resnet18_width, five_layer_cnn (378 k^2 + 152 k + 10), vgg19, vit and mlp_mixer were counted by hand, layer by layer.
COUNTS = {
    "fully_connected": {1: 3_093, 512: 1_578_506},
    "fully_connected_deep": {64: 199_398, 1024: 3_819_978},
    "resnet18": {1: 2_991, 10: 274_980, 64: 11_173_962},
    "resnet18_width": {8: 176_050, 64: 11_171_146, 512: 714_189_322},
    "five_layer_cnn": {1: 540, 8: 25_418, 64: 1_558_026},
    "densenet121": {1: 9_694, 10: 699_850, 32: 6_956_298, 64: 27_634_186},
    "vgg19": {8: 315_698, 64: 20_040_522, 512: 1_281_284_618},
    "wide_resnet28": {1: 369_498, 4: 5_849_050, 10: 36_479_194, 30: 328_009_434},
    "vit": {8: 3_810, 64: 159_434, 512: 9_532_938},
    "mlp_mixer": {8: 404_562, 64: 801_098, 512: 25_649_418},
}
"""Of every width, for images of CIFAR-10."""


@pytest.mark.parametrize("architecture", SMALL)
def test_parameter_counts(architecture):
    assert {width: parameters(architecture, width) for width in COUNTS[architecture]} == COUNTS[architecture]


def test_options_change_the_network():
    assert parameters("wide_resnet28", 4, depth=40) == 8_949_210  # WRN-40-4, 8.9 million in the paper
    assert parameters("vit", 64, mlp=128) == parameters("vit", 64) + 6 * (2 * 64 * 64 + 64)
    assert parameters("mlp_mixer", 8, token_expansion=0.5) < parameters("mlp_mixer", 8)


@pytest.mark.parametrize("shape", [DIGITS, (1, 28, 28), CIFAR, (3, 64, 64), (2, 4, 4), (3, 16, 28)])
@pytest.mark.parametrize("architecture", SMALL)
def test_any_image_shape(architecture, shape):
    if architecture == "vit" and shape[1] != shape[2]:
        return  # refused below
    width, options = SMALL[architecture]
    with torch.device("meta"):
        network = initialised_network(architecture, width, shape, 7, options=options)
        for mode in (True, False):
            assert network.train(mode)(torch.zeros(5, *shape)).shape == (5, 7)
    assert not [module for module in network.modules() if getattr(module, "inplace", False)]


@pytest.mark.parametrize("architecture", SMALL)
def test_the_seed_alone_decides_the_initialisation(architecture):
    width, options = SMALL[architecture]
    before = torch.random.get_rng_state()
    first, again, other = (initialised_network(architecture, width, DIGITS, 10, seed, options) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    first, again, other = (nn.utils.parameters_to_vector(network.parameters()) for network in (first, again, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fully_connected_networks_begin_with_a_linear_layer():
    for architecture in ("fully_connected", "fully_connected_deep"):
        network = initialised_network(architecture, 16, CIFAR, 10)
        assert [type(layer) for layer in network[:2]] == [nn.Flatten, nn.Linear]


def test_attention_is_torchs():
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    nn.init.normal_(theirs.in_proj_bias)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    ours, _ = SelfAttention(theirs)(x, x, x)
    torch.testing.assert_close(ours, theirs(x, x, x, need_weights=False)[0])


def test_vit_has_dropout_in_modules_called_once():
    network = initialised_network("vit", 8, DIGITS, 10, options={"layers": 2, "heads": 2})
    calls = []
    dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    for module in dropouts:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    network(torch.zeros(1, *DIGITS))
    assert {module.p for module in dropouts} == {0.1}
    assert sorted(map(id, calls)) == sorted(map(id, dropouts))
    assert len(dropouts) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("architecture", "width", "shape", "options", "beginning"),
    [
        ("resnet18", 0, CIFAR, {}, "width: 0 "),
        ("vit", 8, CIFAR, {"patch": 2}, "options.patch: 2: vit "),
        ("vit", 8, CIFAR, {"width": 2}, "options.width: 2: vit "),
        ("vit", 8, CIFAR, {"patch_size": 0}, "options.patch_size: 0: "),
        ("vit", 8, CIFAR, {"patch_size": 5}, "patch_size: 5 "),
        ("vit", 12, CIFAR, {}, "heads: 8 "),
        ("vit", 8, (3, 16, 32), {}, "image_shape: 16x32 "),
        ("mlp_mixer", 8, (1, 30, 30), {}, "patch_size: 4 "),
        ("wide_resnet28", 1, CIFAR, {"depth": 27}, "depth: 27 "),
        ("fully_connected_deep", 10, CIFAR, {}, "width: 10 "),
    ],
)
def test_what_cannot_be_built(architecture, width, shape, options, beginning):
    with pytest.raises(ValueError, match=rf"^{beginning}.*$"):
        initialised_network(architecture, width, shape, 10, options=options)


def test_timm(monkeypatch):
    pytest.importorskip("timm")
    for name in ("test_resnet", "test_vit"):  # of variable and of fixed image size
        network = timm_builder(name)(width=1, image_shape=(1, 32, 32), classes=7)
        assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
        assert not [module for module in network.modules() if getattr(module, "inplace", False)]
    with pytest.raises(ValueError, match=r"^width: 2 "):
        timm_builder("test_resnet")(width=2, image_shape=CIFAR, classes=7)
    with pytest.raises(FieldError) as error:
        timm_builder("resnet50_")
    assert "resnet50" in error.value.mistake.hint
    monkeypatch.setitem(sys.modules, "timm", None)
    assert refused(timm_builder, "resnet50").hint == "pip install timm"


LOGITS = torch.tensor([-2.0, 0, 0.5, 3], dtype=torch.float64)
COLUMN = LOGITS[:, None]


@pytest.mark.parametrize("output", [LOGITS, COLUMN, LOGITS.numpy(), {"logits": COLUMN}, SimpleNamespace(logits=LOGITS)])
def test_one_logit_is_that_of_class_one(output):
    scores = logits_of(output)
    assert scores.argmax(dim=1).tolist() == [0, 0, 1, 1]
    assert torch.equal(scores.softmax(dim=1)[:, 1], LOGITS.sigmoid())
    assert logits_of(torch.tensor(2.0)).tolist() == [[0, 2]], "a batch of one image may have lost its dimension"


@pytest.mark.parametrize("form", [lambda z: z, lambda z: z[:, None]])
def test_its_loss_is_binary_cross_entropy(form):
    labels, (ours, theirs) = torch.tensor([0, 1, 1, 0]), (LOGITS.clone().requires_grad_() for _ in range(2))
    loss, binary = F.cross_entropy(logits_of(form(ours)), labels), nn.BCEWithLogitsLoss()(theirs, labels.double())
    torch.testing.assert_close(loss, binary)
    for found in (loss, binary):
        found.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("output", [torch.tensor([0, 1, 1]), torch.tensor([[True], [False]]), "cat", [], {}])
def test_predicted_classes_are_no_scores(output):
    with pytest.raises(NoScoresError):
        logits_of(output)

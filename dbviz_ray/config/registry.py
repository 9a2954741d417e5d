"""Names of architectures and data sets, as import strings: `package.module:function`.

Modules are imported on first use, so reading a configuration does not import torch. A sweep names a user's own
architecture or data set by its import string; it needs no registration.
"""

import difflib
import importlib
import importlib.machinery
import importlib.util
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from dbviz_ray.errors import FieldError, UserError


class Architecture(NamedTuple):
    """A registered family of networks."""

    builder: str
    """Import string of a function, called as `builder(width=, image_shape=(channels, height, width), classes=,
    **options)`, that returns an nn.Module."""
    standard_width: int
    """The paper's width; a sweep that names none uses it."""


ARCHITECTURES = {
    "fully_connected": Architecture("dbviz_ray.architectures.fully_connected:fully_connected", 512),
    "fully_connected_deep": Architecture("dbviz_ray.architectures.fully_connected:fully_connected_deep", 1024),
    "resnet18": Architecture("dbviz_ray.architectures.convolutional:resnet18", 64),
    "resnet18_width": Architecture("dbviz_ray.architectures.convolutional:resnet18_width", 64),
    "five_layer_cnn": Architecture("dbviz_ray.architectures.convolutional:five_layer_cnn", 64),
    "densenet121": Architecture("dbviz_ray.architectures.convolutional:densenet121", 32),
    "vgg19": Architecture("dbviz_ray.architectures.convolutional:vgg19", 64),
    "wide_resnet28": Architecture("dbviz_ray.architectures.convolutional:wide_resnet28", 10),
    "vit": Architecture("dbviz_ray.architectures.patches:vit", 512),
    "mlp_mixer": Architecture("dbviz_ray.architectures.patches:mlp_mixer", 512),
}

TIMM = "timm/"
"""Prefix of a network of timm: `timm/resnet50`."""

DATASETS = {
    "digits": "dbviz_ray.datasets.public:load_digits",
    "cifar10": "dbviz_ray.datasets.public:load_cifar10",
    "cifar100": "dbviz_ray.datasets.public:load_cifar100",
    "svhn": "dbviz_ray.datasets.public:load_svhn",
    "fashion_mnist": "dbviz_ray.datasets.public:load_fashion_mnist",
    "image_folder": "dbviz_ray.datasets.image_folder:load_image_folder",
}
"""Loaders called as `loader(config, directory)`, returning a `dbviz_ray.datasets.Dataset`."""

CALLED = {
    "fully_connected": "fully connected network", "fully_connected_deep": "deep fully connected network",
    "resnet18": "ResNet-18", "resnet18_width": "pre-activation ResNet-18", "five_layer_cnn": "five-layer CNN",
    "densenet121": "DenseNet-121", "vgg19": "VGG-19", "wide_resnet28": "WideResNet", "vit": "ViT",
    "mlp_mixer": "MLP-Mixer", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN",
    "fashion_mnist": "Fashion-MNIST", "image_folder": "a folder of images",
}  # fmt: skip
"""Names of architectures and data sets for readers, where they differ; a user's own keep theirs."""

IMPORT_STRING = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


def check_architecture(name: str) -> str:
    """Return `name` if it is registered, timm's, or an import string whose module exists; FieldError otherwise."""
    return name if name.startswith(TIMM) else _check(name, ARCHITECTURES, f"{TIMM}NAME, ")


def check_dataset(name: str) -> str:
    """Return `name` if it is registered or an import string whose module exists; FieldError otherwise."""
    return _check(name, DATASETS)


def standard_width(name: str) -> int:
    """The width of an architecture in a sweep that names none; FieldError if there is no standard width."""
    if name.startswith(TIMM):
        return 1
    if name not in ARCHITECTURES:
        raise FieldError("grid.width", reason=f"missing; {name} has no standard width")
    return ARCHITECTURES[name].standard_width


def architecture_builder(name: str) -> Callable[..., Any]:
    """The builder that `name` stands for."""
    if name.startswith(TIMM):
        builder: Callable[..., Any] = _imported("dbviz_ray.architectures:timm_builder")(name.removeprefix(TIMM))
        return builder
    return _imported(ARCHITECTURES[name].builder if name in ARCHITECTURES else name)


def dataset_loader(name: str) -> Callable[..., Any]:
    """The loader that `name` stands for."""
    return _imported(DATASETS.get(name, name))


def nearest(name: str, names: list[str]) -> str:
    """ "did you mean ...?" with the names most like `name`, or "" if none is close."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else ""


def _check(name: str, known: Collection[str], further: str = "") -> str:
    if name in known:
        return name
    allowed = f"{', '.join(known)}, {further}or your own as package.module:function"
    if not IMPORT_STRING.match(name):
        raise FieldError(allowed=allowed, hint=nearest(name, list(known)))
    module = name.partition(":")[0]
    if not _is_there(module):
        reason = f"is not allowed: module {module} is neither in the present folder nor installed"
        raise FieldError(reason=reason, allowed=allowed)
    return name


def _is_there(module: str) -> bool:
    """Whether a module can be found; unlike importlib.util.find_spec, this imports no parent package."""
    package, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    for name in inner:
        if spec is None or spec.submodule_search_locations is None:
            return False
        # Not the whole name: of a folder without __init__.py, Python would want the parent imported.
        spec = importlib.machinery.PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return spec is not None


def _imported(import_string: str) -> Callable[..., Any]:
    module, _, function = import_string.partition(":")
    imported = importlib.import_module(module)
    found = getattr(imported, function, None)
    if not callable(found):
        names = [name for name, value in vars(imported).items() if callable(value) and not name.startswith("_")]
        reason, allowed = f"module {module} has no function {function}", ", ".join(names) or "a module with functions"
        raise UserError(import_string, reason=reason, allowed=allowed, hint=nearest(function, names))
    return found  # type: ignore[no-any-return]

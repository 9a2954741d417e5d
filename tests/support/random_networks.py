"""Networks made of the kinds of networks: "support.random_networks:LAYER__LAYER__and__CODE__CODE"."""

from collections.abc import Callable

from support.network_kinds import KINDS, LAYERS, Base
from support.python_kinds import PYTHON_KINDS
from torch import nn

ALL = KINDS | PYTHON_KINDS
CODES = sorted(name for name, kind in ALL.items() if isinstance(kind, type) and issubclass(kind, Base))
"""What a network may do between two linear layers."""
BETWEEN, AND = "__", "__and__"


def name_of(layers: list[str], codes: list[str]) -> str:
    """The architecture with these layers of `LAYERS`, then these `CODES`."""
    return f"{__name__}:{BETWEEN.join(layers)}{AND}{BETWEEN.join(codes)}"


def __getattr__(name: str) -> Callable[..., nn.Module]:
    if AND not in name:
        raise AttributeError(name)
    layers, codes = (part.split(BETWEEN) for part in name.split(AND))

    def build(width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        built: list[nn.Module] = [nn.Conv2d(image_shape[0], width, 3, padding=1)]
        for layer in layers:
            convolution = nn.Conv2d(width, width, 3, padding=1, bias=False)
            built += [nn.AdaptiveAvgPool2d(8), convolution, *LAYERS[layer](width)]
        features = 4 * width
        built += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        for code in codes:
            built.append(ALL[code](width, (features, 1, 1), classes))
            features = classes
        return nn.Sequential(*built)

    return build

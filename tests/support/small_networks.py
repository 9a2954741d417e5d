"""A quick network of each family of architectures."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, tuple[int, dict[str, Any]]] = {
    "fully_connected": (4, {}),
    "fully_connected_deep": (16, {}),
    "resnet18": (2, {}),
    "resnet18_width": (2, {}),
    "densenet121": (1, {}),
    "vgg19": (2, {}),
    "wide_resnet28": (1, {"depth": 10}),
    "vit": (8, {"layers": 2, "heads": 2, "dropout": 0.0}),
    "mlp_mixer": (8, {"layers": 2}),
}
"""Width and options."""

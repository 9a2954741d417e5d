"""Activations of networks that come from elsewhere."""

from __future__ import annotations

from torch import nn


def out_of_place(network: nn.Module) -> nn.Module:
    """`network` with every activation out of place: the same numbers; in place they cost stacked networks copies."""
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            vars(module)["inplace"] = False
    return network

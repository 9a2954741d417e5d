"""Networks as users write them."""

import torch
from torch import nn


def needs_numbers(width, image_shape, classes):
    rates = [rate.item() for rate in torch.linspace(0, 0.1, width)]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, len(rates)), nn.Linear(len(rates), classes))


def convolutional(width, image_shape, classes):
    """Everything that cohorts treat in a way of its own, in one quick network.

    Without biases in front of batch norm: their gradients are zero but for rounding, which Adam blows up.
    """
    return nn.Sequential(
        nn.Conv2d(image_shape[0], width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        nn.Flatten(),
        nn.Linear(width * (image_shape[1] // 2) * (image_shape[2] // 2), 8, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(8, classes),
    )

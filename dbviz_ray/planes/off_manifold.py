"""Images that are none: shuffled pixels and uniform noise, in place of all three images of a plane or of two.

The paper finds that planes through such images are almost one region.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.errors import UserError
from dbviz_ray.planes.geometry import spans_plane
from dbviz_ray.planes.triplets import MAX_DRAWS
from dbviz_ray.seeds import numpy_generator


def off_manifold_anchors(natural: Tensor, config: PlaneSetConfig, dataset: Dataset) -> Tensor:
    """`natural` images `[planes, 3, channels, height, width]`, the last `config.off_manifold_images` replaced.

    Drawn from the "off_manifold" stream, each plane's for itself.
    """
    return torch.stack([_replaced(triplet, plane, config, dataset) for plane, triplet in enumerate(natural)])


def _replaced(natural: Tensor, plane: int, config: PlaneSetConfig, dataset: Dataset) -> Tensor:
    kept, replaced = natural.split([3 - config.off_manifold_images, config.off_manifold_images])
    for attempt in range(MAX_DRAWS):
        generator = numpy_generator("off_manifold", config.seed, plane, attempt)
        if config.off_manifold == "shuffled":
            made = shuffled(replaced, generator)
        else:
            made = uniform_noise(len(replaced), dataset, generator)
        triplet = torch.cat([kept, made])
        if spans_plane(triplet):
            return triplet
    raise UserError(
        f"planes: off_manifold={config.off_manifold}: in {MAX_DRAWS} draws no images made for plane {plane} span one"
    )


def shuffled(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Images `[n, channels, height, width]`, the pixels of each in a random order of its own, channels together."""
    height, width = images.shape[2:]
    orders = torch.from_numpy(np.stack([generator.permutation(height * width) for _ in images]))
    return images.flatten(2).gather(2, orders[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def uniform_noise(count: int, dataset: Dataset, generator: np.random.Generator) -> Tensor:
    """`[count, channels, height, width]`: raw pixels uniform from 0 to the pixel range, normalised as images are."""
    pixels = generator.uniform(0, dataset.pixel_range, (count, *dataset.image_shape))
    return dataset.normalised(torch.from_numpy(pixels))

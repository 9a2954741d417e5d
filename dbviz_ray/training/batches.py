"""The inputs of a cohort's training steps: images, labels, attack starts and dropout masks.

Each member draws from its own streams, addressed by its seeds and the epoch.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from dbviz_ray.config import ModelConfig
from dbviz_ray.config.seeds import derived_seed, torch_generator
from dbviz_ray.datasets import Dataset
from dbviz_ray.datasets.augmentation import AugmentedImages, Draws, mixed
from dbviz_ray.training.gradients import IMAGES, LABELS, SEEDS, START, Batch
from dbviz_ray.training.layers import MaskShapes


class Batches(AugmentedImages):
    """The inputs of the steps of a cohort, epoch by epoch. The training images stay on the device.

    `mask_shapes` tells from one member's images `[n, channels, height, width]` which dropout masks it needs; None for
    ordinary modules, whose batches hold seeds instead.
    """

    def __init__(
        self,
        models: Sequence[ModelConfig],
        dataset: Dataset,
        device: torch.device,
        dtype: torch.dtype,
        mask_shapes: Callable[[Tensor], MaskShapes] | None,
    ) -> None:
        super().__init__(models, dataset, device, dtype)
        self._models = models
        self._settings = models[0].training
        self._mask_shapes = mask_shapes
        self._known_masks: dict[int, MaskShapes] = {}

    def epoch(self, epoch: int, draws: Draws, labels: Tensor) -> Iterator[Batch]:
        """One epoch's batches of training images, with labels int64 `[members, images]` in the order of its draws."""
        classes = len(self._dataset.class_names)
        attacks = [torch_generator(self._device, "attack", m.seeds.augmentation, epoch) for m in self._models]
        masks = [torch_generator(self._device, "dropout", m.seeds.dropout, epoch) for m in self._models]
        for step, (place, images) in enumerate(self.augmented(draws)):
            batch = {IMAGES: images, LABELS: labels[:, place].contiguous()}
            batch[IMAGES], batch[LABELS] = mixed(draws, step, images, batch[LABELS], classes)
            if self._settings.adversary is not None:
                batch[START] = torch.empty(images.shape, dtype=images.dtype, device=self._device)
                for start, generator in zip(batch[START], attacks, strict=True):
                    start.uniform_(-1, 1, generator=generator)
            if self._mask_shapes is None:
                seeds = [derived_seed("forward", m.seeds.dropout, epoch, step) for m in self._models]
                yield batch | {SEEDS: torch.tensor(seeds)}
            else:
                yield batch | self._drawn_masks(images, masks)

    def _drawn_masks(self, images: Tensor, generators: Sequence[torch.Generator]) -> Batch:
        """Masks `[members, n, ...]` of zeros and 1/(1 - p), by buffer name."""
        size = images.shape[1]
        if size not in self._known_masks:
            assert self._mask_shapes is not None
            self._known_masks[size] = self._mask_shapes(images[0])
        drawn = {}
        for name, (p, shape) in self._known_masks[size].items():
            mask = torch.empty(len(generators), *shape, dtype=images.dtype, device=self._device)
            for own, generator in zip(mask, generators, strict=True):
                own.bernoulli_(1 - p, generator=generator)
            drawn[name] = mask.div_(1 - p) if p < 1 else mask
        return drawn

"""Pictures: one plane of a set on a finer grid, where 50 x 50 points would look blocky."""

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import groupby

import torch
from torch.nn import functional as F

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.evaluation.label_maps import Classifier, computing_threads, label_planes, label_points
from dbviz_ray.evaluation.records import load_planes
from dbviz_ray.evaluation.run_models import RunModel, run_model
from dbviz_ray.planes import PlaneSet
from dbviz_ray.store import Picture, PictureKey, Store
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Amount, Progress

SHOWN_PLANE = 0
"""All figures show the first plane drawn, so nobody chose it for its looks."""
PICTURE_RESOLUTION, PALE_RESOLUTION = 400, 200
"""Grid points on each side, and with confidence. A figure shows a plane on about 400 pixels: no point seems a block."""
POINTS_A_SIDE = 30
"""About as many points a picture without confidence takes, times its side; for 20 networks on digits 20 to 60."""
PICTURE_SHARE = 0.2
"""A picture has at most about this share of the points of its plane set."""
COARSEST = 50
"""A picture starts with this grid, or with a finer one of the scores."""


def picture_resolution(planes: PlaneSet, *, confidence: bool) -> int | None:
    """Grid points a side of the picture that every model takes; None if the planes are at least as fine."""
    finest = affordable_resolution(PICTURE_SHARE * len(planes) * planes.resolution**2, confidence=confidence)
    return finest if finest > planes.resolution else None


def affordable_resolution(points: float, *, confidence: bool = False) -> int:
    """Grid points a side of the finest picture that labels about `points` points."""
    side, wanted = (points**0.5, PALE_RESOLUTION) if confidence else (points / POINTS_A_SIDE, PICTURE_RESOLUTION)
    return min(int(side), wanted)


def take_picture(
    network: Classifier,
    planes: PlaneSet,
    plane: int,
    resolution: int,
    device: torch.device,
    *,
    confidence: bool = False,
    batch_points: int | None = None,
) -> Picture:
    """The labels that `network` gives plane number `plane`, with its confidence if asked for.

    Without confidence, a grid about as fine as that of the scores is refined step by step where neighbours differ: the
    number of points grows as the length of the boundaries, not as their area.
    """
    if confidence:
        whole = planes.part([plane], resolution)
        labelled = label_planes(network, whole, device, probabilities=True, batch_points=batch_points)
        highest = None if labelled.probabilities is None else labelled.probabilities[0].amax(-1).numpy()
        return Picture(labelled.labels[0].numpy(), highest)
    sides = [resolution]
    while (half := (sides[-1] + 1) // 2) >= max(planes.resolution, COARSEST):
        sides.append(half)
    coarsest = label_planes(network, planes.part([plane], sides.pop()), device, batch_points=batch_points).labels[0]
    labels = coarsest.int()
    for side in reversed(sides):
        places = torch.linspace(0, len(labels) - 1, side)
        cells, nearest = places.long().clamp(max=len(labels) - 2), places.round().long()
        corners = labels[None].float()
        differ = F.max_pool2d(corners, 2, 1) != -F.max_pool2d(-corners, 2, 1)
        near = F.max_pool2d(differ.float(), 3, 1, padding=1)[0].bool()[cells][:, cells]  # in or beside such a cell
        labels = labels[nearest][:, nearest]
        if near.any():
            finer, places = planes.part([plane], side), near.nonzero().T
            labels[near] = label_points(network, finer, places, device, batch_points=batch_points).int()
    return Picture(labels.to(coarsest.dtype).numpy())


FINEST = 2000
"""Grid points on each side, at most."""
SMALL_NETWORK = 50_000_000
"""Parameters times pixels of an image below which one thread is faster than several: on two shared cores, a picture by
a ResNet-18 of width 8 on 8x8 images took two threads more than 40 s and one thread 10 s."""


def take_pictures(
    store: Store, sweep: SweepConfig, wanted: Iterable[PictureKey], resolution: int, trusted: Collection[str] = ()
) -> None:
    """Store the wanted pictures on grids of `resolution` points a side, except those that are as fine already.

    The networks run in this process, on a GPU if there is one, and show their progress. UserError, before anything is
    labelled, if the resolution is out of range, weights are missing, or the code of a network or data set is not among
    `trusted`.
    """
    if not 2 <= resolution <= FINEST:
        raise UserError("--resolution", resolution, allowed=f"from 2 to {FINEST}")
    keys = sorted(set(wanted))
    scored = {name: load_planes(store, name) for name in {key.plane_set for key in keys}}

    def is_coarse(key: PictureKey) -> bool:
        picture = store.read_picture(key.plane_set, key.model_id, key.epoch, key.plane)
        return max(scored[key.plane_set][0].resolution, picture.resolution if picture else 0) < resolution

    coarse = list(filter(is_coarse, keys))
    if not coarse:
        return
    models = {key[:2]: _model(store, key, trusted) for key in coarse}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    first, class_names = scored[coarse[0].plane_set]  # all plane sets of a sweep have its images and classes
    of_models = Counter(key.model_id for key in coarse)
    amounts = {model_id: Amount(count, 1.0) for model_id, count in of_models.items()}
    taken: Counter[str] = Counter()
    with Progress("label", amounts, "pictures") as progress:
        for model, pictures in groupby(coarse, key=lambda key: key[:2]):
            network = models[model].network_for(first.image_shape, len(class_names)).to(device)
            size = sum(p.numel() for p in network.parameters()) * first.anchors[0, 0, 0].numel()
            with computing_threads(1 if size < SMALL_NETWORK else torch.get_num_threads()):
                for model_id, epoch, plane_set, plane in pictures:
                    interruption.check()
                    planes, confidence = scored[plane_set][0], sweep.planes[plane_set].probabilities
                    picture = take_picture(network, planes, plane, resolution, device, confidence=confidence)
                    store.write_picture(plane_set, model_id, epoch, plane, picture)
                    taken[model_id] += 1
                    progress.reach(model_id, taken[model_id])


def _model(store: Store, asked: PictureKey, trusted: Collection[str]) -> RunModel:
    try:
        return run_model(store, asked.model_id, asked.epoch, trusted)
    except FileNotFoundError:
        folder = store.path(store.model_folder(asked.model_id))
        allowed = "no --resolution without the weights of the models"
        raise UserError("--resolution", reason=f"{folder} is not there", allowed=allowed) from None

"""A sweep's question and settings, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from dbviz_ray.config import ModelConfig, PlaneSetConfig, Seeds, SweepConfig
from dbviz_ray.formatting import listed

from ..findings.sentences import STREAM_NAMES
from ..scores.groups import group_of, options_text

MAX_NAMED = 30
"""Most values of one setting that are named."""

CLASSES = {"different": " of different classes", "any": "", "same": " of one class"}
LABELS = {
    "any": "",
    "correct": "correctly labelled ",
    "mislabelled": "mislabelled ",
    "mixed": "correctly labelled and mislabelled ",
}


def asked(sweep: SweepConfig) -> str:
    """A few sentences on what the sweep trains and compares."""
    models = sweep.models()
    trainings = Counter(tuple(group_of(model, 0).values()) for model in models)
    fewest, most = min(trainings.values()), max(trainings.values())
    kinds = "one kind of network" if len(trainings) == 1 else f"{len(trainings):,} kinds of networks"
    if most == 1:
        return (
            f"This sweep trains {kinds}, {'' if len(trainings) == 1 else 'each '}once, and looks at the predicted "
            "classes on planes through three images, where decision regions can be seen. With one training of each "
            "kind it cannot tell whether another training would be the same model."
        )
    times = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return (
        f"If a network is trained again, is it the same model? This sweep trains {kinds}, "
        f"{'' if len(trainings) == 1 else 'each '}{times} times{_what_seeds_change(models)}, and compares what the "
        "trainings of one kind predict: for images, and on planes through three images, where decision regions can be "
        "seen."
    )


def varied(sweep: SweepConfig) -> list[tuple[str, str]]:
    """The values of each setting of the models, then data, planes and margins."""
    models = sweep.models()
    columns: dict[str, list[object]] = {
        "networks": [_network(model) for model in models],
        "width": [model.width for model in models],
        "label noise": [f"{model.label_noise:g}" for model in models],
        "recipe": [model.recipe for model in models],
        "learning rate": [f"{model.training.learning_rate:g}" for model in models],
        "epochs looked at": [epoch for model in models for epoch in model.training.kept_epochs],
    }
    told = {name: _values(values) for name, values in columns.items()}
    if told["recipe"] == "default":
        del told["recipe"]
    data = sweep.dataset
    sizes = [
        f"{size:,} {what}"
        for size, what in (
            (data.train_size, "training images"),
            (data.test_size, "test images"),
            (data.held_out, "images held out of training, in place of the test images"),
        )
        if size is not None
    ]
    lines = [(f"planes: {name}", planes_in_words(planes)) for name, planes in sweep.planes.items()][:MAX_NAMED]
    if margins := sweep.margins:
        directions = f"in {margins.directions} directions each"
        lines.append(("margins", f"of up to {margins.images:,} {margins.split} images, {directions}"))
    return [*told.items(), ("data", ", ".join([data.name, *sizes])), *lines]


def planes_in_words(planes: PlaneSetConfig) -> str:
    """The planes of a set: their number, their images and their grid."""
    images = f"{LABELS[planes.labels]}{planes.images} images"
    made = {"shuffled": "their pixels shuffled", "uniform_noise": "uniform noise"}.get(planes.off_manifold)
    if planes.off_manifold == "adversarial":
        through = (
            f"a {planes.images} image, an adversarial example made of it, and the image moved as far in a random "
            "direction"
        )
    elif planes.off_manifold == "uniform_noise":
        through = "three images of uniform noise"
        if planes.off_manifold_images == 2:
            through = f"a {planes.images} image and two images of {made}"
    elif made:
        two = planes.off_manifold_images == 2
        through = f"three {images}{CLASSES[planes.classes]}, {'two of them with ' if two else ''}{made}"
    else:
        through = f"three {'given ' if planes.indices is not None else ''}{images}{CLASSES[planes.classes]}"
    return f"{planes.count:,} through {through}; {planes.resolution} x {planes.resolution} points"


def _what_seeds_change(models: Sequence[ModelConfig]) -> str:
    """The random streams that change between trainings, and those in use that stay the same."""
    augmented = any(model.training.augmentation != "none" or model.training.mixing != "none" for model in models)
    used = {
        "init": True,
        "order": True,
        "augmentation": augmented,
        "label_noise": any(model.label_noise for model in models),
    }
    names = STREAM_NAMES | {"label_noise": "mislabelled images"}
    changed: list[str] = []
    same: list[str] = []
    for stream in Seeds.model_fields:
        if used.get(stream):
            several = len({getattr(model.seeds, stream) for model in models}) > 1
            (changed if several else same).append(names[stream])
    if not changed:
        return ""
    return f" with other seeds ({', '.join(changed)})" + f", all with the same {' and '.join(same)}" * bool(same)


def _network(model: ModelConfig) -> str:
    options = options_text(model.options)
    return f"{model.architecture} ({options})" if options else model.architecture


def _values(values: Iterable[object]) -> str:
    """The different values, in order of appearance."""
    return listed([str(value) for value in dict.fromkeys(values)], MAX_NAMED)

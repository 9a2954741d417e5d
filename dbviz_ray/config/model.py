"""One model, its name, and cohorts of models that are trained together."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from pydantic import Field

from dbviz_ray.config.training import DatasetConfig, TrainingConfig
from dbviz_ray.config.validation import Architecture, Count, Frozen, Options, RecipeName, Seed, Share

DEFAULT_RECIPE = "default"


class Seeds(Frozen):
    """The named random streams of one model; each may be varied alone."""

    init: Seed
    order: Seed
    augmentation: Seed
    """Crops, flips, mixing and the starts of attacks."""
    dropout: Seed
    label_noise: Seed
    train_set: Seed | None = None
    """Which images are trained on; all of them without a seed."""

    @property
    def slug(self) -> str:
        """The seed of most streams, then others and that of a drawn training set, such as seed1-labels0-set2."""
        short = {"label_noise": "labels", "train_set": "set"}
        seeds = {short.get(stream, stream): seed for stream, seed in self if seed is not None}
        most = Counter(seeds.values()).most_common(1)[0][0]
        told = (f"{name}{seed}" for name, seed in seeds.items() if seed != most or name == "set")
        return "-".join([f"seed{most}", *told])


class ModelConfig(Frozen):
    """One model: everything that its weights depend on, and the name of its recipe."""

    architecture: Architecture
    width: Count
    options: Options = Field(default_factory=dict)
    label_noise: Share
    recipe: RecipeName = DEFAULT_RECIPE
    """Only a name: it does not change the `model_id`."""
    seeds: Seeds
    dataset: DatasetConfig
    training: TrainingConfig
    teacher: str | None = None
    """model_id of the teacher of a distilled model."""

    @cached_property
    def name_parts(self) -> tuple[str, str, str, str, str]:
        """Architecture, width, optimizer, label noise and seeds as the model_id names them."""
        optimizer = self.training.optimizer + "_sam" * bool(self.training.sam_radius)
        noise = f"noise{self.label_noise:g}"
        return slugified(self.architecture), f"w{self.width}", optimizer, noise, self.seeds.slug

    @cached_property
    def model_id(self) -> str:
        """The `name_parts` plus a hash over every field but `recipe`, unset seeds and an unset command, and the schema
        version.

        Not covered: defaults of the architecture's options, the files of an image folder, and the code of a user's own
        functions. The model_id of a student's teacher stands for the teacher.
        """
        named = {"recipe", "architecture", "width", "seed"}
        unset = {stream for stream, seed in self.seeds if seed is None}
        training: dict[str, Any] = {"distillation": named}
        if self.training.command is None:
            training |= dict.fromkeys(("command", "weights"), True)
        fields = self.model_dump(exclude={"recipe": True, "training": training, "seeds": unset})
        return "-".join([*self.name_parts, fingerprint(fields)])

    @cached_property
    def shape_key(self) -> str:
        """Equal for models that differ only in seeds, label noise, learning rate and teacher, and so can be stacked."""
        whole = dict.fromkeys(["seeds", "label_noise", "recipe", "teacher"], True)
        return self.model_dump_json(exclude={**whole, "training": {"learning_rate"}})


class Cohort(Frozen):
    """Models of one shape, trained side by side as one stacked network."""

    models: tuple[ModelConfig, ...] = Field(min_length=1)

    @cached_property
    def cohort_id(self) -> str:
        """Architecture, width and number of members, plus a hash over their ids."""
        first = self.models[0]
        members = fingerprint([model.model_id for model in self.models])
        return f"{slugified(first.architecture)}-w{first.width}-x{len(self.models)}-{members}"


SCHEMA_VERSION = 3
"""Raise it whenever the same configuration gives other numbers than before."""


def fingerprint(value: Any) -> str:
    """Ten hexadecimal digits of a hash over `value` (anything JSON can hold) and `SCHEMA_VERSION`."""
    canonical = json.dumps([SCHEMA_VERSION, value], sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=5).hexdigest()


def slugified(text: str) -> str:
    """`text` with dashes for characters that are awkward in a file name."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text)


def differing_fields(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields in which two nested mappings differ."""
    for key in sorted(left.keys() | right.keys()):
        name, a, b = f"{prefix}{key}", left.get(key), right.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differing_fields(a, b, f"{name}.")
        elif a != b:
            yield name

"""What a sweep is: typed, frozen, checked at the door, so that inner code can trust it.

    SweepConfig --models()--> ModelConfig, ... --cohorts()--> Cohort, ...

A `ModelConfig` is one cell of the grid with every field resolved; its `model_id` is a readable slug plus a
hash over all of them and `SCHEMA_VERSION`, so a changed default can never pass for an old result.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dbviz_ray.registry import check_architecture, check_dataset

SCHEMA_VERSION = 1
"""Raised whenever the same configuration would give other numbers than before."""

Count = Annotated[int, Field(strict=True, ge=1)]
Several = Annotated[int, Field(strict=True, ge=2)]
"""What an interval is taken over: of one there is none."""
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
Architecture = Annotated[str, AfterValidator(check_architecture)]


def _not_repeated(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"allowed: every value once, not {repeated} twice")
    return values


Element = TypeVar("Element")
Values = Annotated[tuple[Element, ...], Field(min_length=1), AfterValidator(_not_repeated)]
"""A list of at least one value, none of them twice."""


class Frozen(BaseModel):
    """Immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class DatasetConfig(Frozen):
    """Which images. Fields that a data set does not use must stay unset."""

    name: Annotated[str, AfterValidator(check_dataset)] = Field("digits", description="Registered data set.")
    train_size: Several | None = Field(None, description="Training images kept; all of them if unset.")
    test_size: Several | None = Field(None, description="Test images kept; all of them if unset.")
    split_seed: Seed = Field(0, description="Seed of the train/test split (digits) and of the kept subsets.")


class TrainingConfig(Frozen):
    """How one model is trained; the last epoch's weights are kept, never ones picked on test data."""

    epochs: Count = Field(400, description="Passes over the training images.")
    batch_size: Count = Field(128, description="Images a step; the last batch of an epoch may be smaller.")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="torch.optim's Adam or SGD.")
    learning_rate: Positive = Field(0.01, description="Constant over the training.")
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(0.0, description="SGD only.")
    weight_decay: NonNegative = Field(0.0, description="L2 penalty added to the gradient, as torch.optim does.")
    augmentation: Literal["none", "crop_flip"] = Field(
        "none", description="crop_flip: 4 pixels of zero padding, random crop, random horizontal flip."
    )
    precision: Literal["float32", "float64", "bfloat16"] = Field(
        "float32", description="bfloat16 is autocast over float32 weights."
    )
    evaluate_every: Count = Field(1, description="Epochs between two test evaluations in the history.")

    @model_validator(mode="after")
    def _momentum_belongs_to_sgd(self) -> TrainingConfig:
        if self.optimizer == "adam" and self.momentum:
            raise ValueError(
                f"training.momentum: {self.momentum} is not allowed with optimizer=adam; allowed: 0, or optimizer=sgd"
            )
        return self


class Seeds(Frozen):
    """The named random streams of one model; each may be varied alone."""

    init: Seed
    order: Seed
    augmentation: Seed
    label_noise: Seed


class ModelConfig(Frozen):
    """One model: everything that its weights depend on."""

    architecture: Architecture
    width: Count
    label_noise: Share
    seeds: Seeds
    dataset: DatasetConfig
    training: TrainingConfig

    @cached_property
    def model_id(self) -> str:
        """Readable slug plus a hash over every field and the schema version.

        Seeds that differ stand in the order of `Seeds`: seed1_1_1_0 has label-noise seed 0.
        """
        seeds = self.seeds.model_dump()
        common = set(seeds.values())
        seed = str(common.pop()) if len(common) == 1 else "_".join(map(str, seeds.values()))
        slug = f"{slugified(self.architecture)}-w{self.width}-noise{self.label_noise:g}-seed{seed}"
        return f"{slug}-{fingerprint(self.model_dump())}"

    @cached_property
    def shape_key(self) -> str:
        """Equal for models that can be stacked: all but seeds and label noise is the same."""
        return json.dumps(self.model_dump(exclude={"seeds", "label_noise"}), sort_keys=True)


class Cohort(Frozen):
    """Models of one shape, trained side by side as one stacked network."""

    models: tuple[ModelConfig, ...] = Field(min_length=1)

    @cached_property
    def cohort_id(self) -> str:
        """Slug of the shape plus a hash over the members."""
        first = self.models[0]
        members = fingerprint([model.model_id for model in self.models])
        return f"{slugified(first.architecture)}-w{first.width}-x{len(self.models)}-{members}"


class GridConfig(Frozen):
    """The product of these lists is the sweep's models.

    A stream's own seeds (`init_seed`, ...) override `seed` for that stream: `label_noise_seed: [0]` gives every
    training the same mislabelled images, `seed: [0]` with `init_seed: [0, 1, 2]` varies the initialisation alone.
    """

    architecture: Values[Architecture] = Field(("fully_connected",))
    width: Values[Count] = Field(description="Meaning depends on the architecture.")
    label_noise: Values[Share] = Field(
        (0.0,), description="Share of each class's training labels replaced by another class."
    )
    seed: Values[Seed] = Field((0, 1))
    init_seed: Values[Seed] | None = None
    order_seed: Values[Seed] | None = None
    augmentation_seed: Values[Seed] | None = None
    label_noise_seed: Values[Seed] | None = None

    def seeds(self) -> Iterator[Seeds]:
        """Every combination of seeds that the grid asks for."""
        for seed in self.seed:
            streams = (self.init_seed, self.order_seed, self.augmentation_seed, self.label_noise_seed)
            for init, order, augmentation, label_noise in itertools.product(*(s or (seed,) for s in streams)):
                yield Seeds(init=init, order=order, augmentation=augmentation, label_noise=label_noise)


class PlaneSetConfig(Frozen):
    """Which planes: triplets of images and the grid of points on the plane through them."""

    images: Literal["test", "train"] = Field("test", description="The split the three images come from.")
    classes: Literal["different", "any"] = Field(
        "different", description="different: three different classes; any: no condition."
    )
    count: Several = Field(500, description="Planes in the set.")
    resolution: Annotated[int, Field(strict=True, ge=2)] = Field(50, description="Grid points on each side.")
    margin: NonNegative = Field(
        0.1, description="How far the grid reaches past the images, as a share of their bounding box."
    )
    seed: Seed = Field(0, description="Seed of the triplets' stream.")


class ResourcesConfig(Frozen):
    """Where and how wide to run. No result depends on it beyond floating-point rounding."""

    cpus_per_cohort: Count = Field(1, description="CPU cores, and torch threads, of one training trial.")
    gpus_per_cohort: NonNegative = Field(0.0, description="GPUs, or a fraction of one, for one training trial.")
    max_cohort_size: Count = Field(32, description="Models trained side by side at most.")
    cpus_per_evaluator: Count = Field(1, description="CPU cores, and torch threads, of one evaluator.")
    gpus_per_evaluator: NonNegative = Field(0.0, description="GPUs, or a fraction of one, for one evaluator.")
    evaluators: Count | None = Field(None, description="Evaluator actors; as many as fit if unset.")
    checkpoint_seconds: NonNegative = Field(60.0, description="Time between two checkpoints of a cohort.")
    retries: Annotated[int, Field(strict=True, ge=0)] = Field(
        3, description="Restarts of a cohort, or of an evaluator, whose process died."
    )
    data_directory: str = Field("~/.cache/dbviz_ray", description="Where downloaded data sets are kept.")


class SweepConfig(Frozen):
    """A named grid of models with how to train, evaluate and score them; one YAML file in sweeps/."""

    name: Name
    description: str = ""
    dataset: DatasetConfig = DatasetConfig()
    grid: GridConfig
    training: TrainingConfig = TrainingConfig()
    planes: Annotated[dict[Name, PlaneSetConfig], Field(min_length=1)] = {"test": PlaneSetConfig()}
    scores: Values[Literal["reproducibility", "fragmentation"]] = (
        "reproducibility",
        "fragmentation",
    )
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="after")
    def _reproducibility_needs_pairs(self) -> SweepConfig:
        seeds = list(self.grid.seeds())
        repeated = next((s for s in seeds if seeds.count(s) > 1), None)
        if repeated is not None:
            raise ValueError(
                f"grid.seed: {list(self.grid.seed)} names the same training more than once, since the seed lists of "
                "the streams override it; allowed: one seed where every stream has its own"
            )
        models_per_group = len(seeds)
        if "reproducibility" in self.scores and models_per_group < 2:
            raise ValueError(
                f"grid.seed: {list(self.grid.seed)} trains one model of each kind and reproducibility compares "
                "two or more; allowed: at least 2 seeds, or scores=[fragmentation]"
            )
        return self

    def models(self) -> list[ModelConfig]:
        """Every model of the grid, in the grid's order."""
        grid = self.grid
        cells = itertools.product(grid.architecture, grid.width, grid.label_noise, grid.seeds())
        return [
            ModelConfig(
                architecture=architecture,
                width=width,
                label_noise=label_noise,
                seeds=seeds,
                dataset=self.dataset,
                training=self.training,
            )
            for architecture, width, label_noise, seeds in cells
        ]

    def cohorts(self) -> list[Cohort]:
        """The models grouped by shape, at most `resources.max_cohort_size` together."""
        by_shape: dict[str, list[ModelConfig]] = {}
        for model in self.models():
            by_shape.setdefault(model.shape_key, []).append(model)
        size = self.resources.max_cohort_size
        return [
            Cohort(models=tuple(group[start : start + size]))
            for group in by_shape.values()
            for start in range(0, len(group), size)
        ]

    def identity(self) -> dict[str, Any]:
        """Every field that results depend on, as plain values: all but the description and the resources."""
        return self.model_dump(mode="json", exclude={"description", "resources"})


def fingerprint(value: Any) -> str:
    """Ten hexadecimal digits of a hash over `value` (anything JSON can hold) and `SCHEMA_VERSION`."""
    canonical = json.dumps([SCHEMA_VERSION, value], sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=5).hexdigest()


def slugified(text: str) -> str:
    """`text` with everything that is awkward in a file name replaced by a dash."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text)


def differing_fields(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields in which two nested mappings differ."""
    for key in sorted(left.keys() | right.keys()):
        name, a, b = f"{prefix}{key}", left.get(key), right.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differing_fields(a, b, f"{name}.")
        elif a != b:
            yield name

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

from dbviz_ray.registry import check_architecture, check_dataset, standard_width

SCHEMA_VERSION = 2
"""Raised whenever the same configuration would give other numbers than before."""

Count = Annotated[int, Field(strict=True, ge=1)]
Several = Annotated[int, Field(strict=True, ge=2)]
"""What an interval is taken over: of one there is none."""
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
PositiveShare = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
RecipeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=40)]
Architecture = Annotated[str, AfterValidator(check_architecture)]
Options = dict[str, bool | int | float | str]

DEFAULT_ARCHITECTURE = "fully_connected"
DEFAULT_RECIPE = "default"
DEFAULT_SEEDS = (0, 1)


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
    """Which images, and how labels are falsified. Fields that a data set does not use must stay unset."""

    name: Annotated[str, AfterValidator(check_dataset)] = Field("digits", description="Registered data set.")
    folder: str | None = Field(None, description="image_folder only: holds train/CLASS/* and test/CLASS/*.")
    image_size: Count | None = Field(None, description="image_folder only: side in pixels that images are resized to.")
    train_size: Several | None = Field(None, description="Training images kept; all of them if unset.")
    test_size: Several | None = Field(None, description="Test images kept; all of them if unset.")
    split_seed: Seed = Field(
        0, description="Seed of the train/test split (digits), of the kept subsets and of the held-out images."
    )
    held_out: Several | None = Field(
        None,
        description="Training images set aside and used in place of the test images, to choose settings by; a model "
        "trained so never meets the test set.",
    )
    noise_kind: Literal["symmetric", "asymmetric"] = Field(
        "symmetric",
        description="What label noise replaces a label by: any other class, uniformly; or one fixed class it is "
        "easily confused with (CIFAR-10), else the next class.",
    )


class DistillationConfig(Frozen):
    """Learning from a trained model of the same sweep: the one model that these fields select.

    Loss (Hinton et al., arXiv 1503.02531): share * T^2 * CE(softmax(teacher / T), softmax(student / T))
    + (1 - share) * CE(labels, student), with T = `temperature`; for hard labels, share * CE(argmax teacher, student).
    The teacher sees the very images of the batch, augmented, in evaluation mode.
    """

    recipe: RecipeName = Field(description="Recipe of the teacher, which must not be distilled itself.")
    architecture: Architecture | None = Field(None, description="The student's own if unset.")
    width: Count | None = Field(None, description="If unset, the one width there is of the teacher's architecture.")
    seed: Seed | None = Field(None, description="The teacher's init seed; all of the student's own if unset.")
    temperature: Positive = Field(30.0, description="Soft labels only.")
    labels: Literal["soft", "hard"] = Field("soft", description="The teacher's probabilities, or its classes.")
    share: PositiveShare = Field(1.0, description="Weight of the teacher's labels beside the given ones.")

    @model_validator(mode="after")
    def _temperature_belongs_to_soft_labels(self) -> DistillationConfig:
        if self.labels == "hard" and self.temperature != 30:
            raise ValueError(f"temperature: {self.temperature} is not allowed with labels=hard; allowed: unset")
        return self


class AdversaryConfig(Frozen):
    """Training on adversarial images: projected gradient descent (Madry et al., arXiv 1706.06083).

    The attack starts at a uniform random point of the L-infinity ball, follows the sign of the loss's gradient with
    the network in evaluation mode, and stays within the ball and the range of pixels.
    """

    radius: Positive = Field(8.0, description="Radius of the ball, in raw pixel units (8 of 255 is usual).")
    step: Positive = Field(2.0, description="Length of one step, in raw pixel units.")
    steps: Count = Field(7, description="Steps of the attack.")


class TrainingConfig(Frozen):
    """How one model is trained; the last epoch's weights are kept, never ones picked on test data."""

    epochs: Count = Field(400, description="Passes over the training images.")
    batch_size: Count = Field(128, description="Images a step; the last batch of an epoch may be smaller.")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("adam", description="torch.optim's SGD, Adam or AdamW.")
    learning_rate: Positive = Field(0.01, description="Before the schedule.")
    schedule: Literal["constant", "drops", "cosine", "inverse_sqrt"] = Field(
        "constant",
        description="drops: x0.1 at 3/8, 5/8 and 7/8 of the epochs (the paper's); cosine: to zero over the training; "
        "inverse_sqrt: 1/sqrt(1 + floor(step/512)) (arXiv 1912.02292).",
    )
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(0.0, description="SGD only.")
    weight_decay: NonNegative = Field(
        0.0, description="L2 penalty added to the gradient, as torch.optim does; for AdamW decoupled from it."
    )
    sam_radius: NonNegative = Field(
        0.0, description="rho of sharpness-aware minimisation (arXiv 2010.01412) over the optimizer; 0: none."
    )
    augmentation: Literal["none", "crop_flip"] = Field(
        "none", description="crop_flip: 4 pixels of zero padding, random crop, random horizontal flip."
    )
    mixing: Literal["none", "mixup", "cutmix"] = Field(
        "none", description="Mixing of a batch's images and labels (arXiv 1710.09412, 1905.04899)."
    )
    mixing_alpha: Positive = Field(
        1.0, description="mixup and cutmix only: the share is drawn from Beta(alpha, alpha)."
    )
    distillation: DistillationConfig | None = None
    adversary: AdversaryConfig | None = None
    precision: Literal["float32", "float64", "bfloat16"] = Field(
        "float32", description="bfloat16 is autocast over float32 weights."
    )
    evaluate_every: Count = Field(
        10, description="Epochs between two test evaluations in the history; at 10 they cost under 3 % of the time."
    )
    snapshots: Annotated[tuple[Count, ...], AfterValidator(_not_repeated)] = Field(
        (), description="Epochs before the last whose weights are kept and scored too."
    )

    @model_validator(mode="after")
    def _fields_belong_together(self) -> TrainingConfig:
        if self.optimizer != "sgd" and self.momentum:
            raise ValueError(
                f"momentum: {self.momentum} is not allowed with optimizer={self.optimizer}; "
                "allowed: 0, or optimizer=sgd"
            )
        if self.mixing == "none" and self.mixing_alpha != 1:
            raise ValueError(
                f"mixing_alpha: {self.mixing_alpha} is not allowed with mixing=none; allowed: unset, or mixup or cutmix"
            )
        late = [epoch for epoch in self.snapshots if epoch >= self.epochs]
        if late:
            raise ValueError(
                f"snapshots: {late} are not allowed; allowed: epochs before the last, {self.epochs}, "
                "which is always kept"
            )
        return self

    @property
    def kept_epochs(self) -> tuple[int, ...]:
        """Every epoch whose weights are kept, ascending; the last one is the model's own."""
        return (*sorted(self.snapshots), self.epochs)


class Seeds(Frozen):
    """The named random streams of one model; each may be varied alone."""

    init: Seed
    order: Seed
    augmentation: Seed
    """Crops, flips, mixing and the starts of attacks."""
    dropout: Seed
    label_noise: Seed


class ModelConfig(Frozen):
    """One model: everything that its weights depend on, and what its sweep calls its training."""

    architecture: Architecture
    width: Count
    options: Options = {}
    label_noise: Share
    recipe: RecipeName = DEFAULT_RECIPE
    """Only a name: models of other sweeps with the same settings have the same `model_id`."""
    seeds: Seeds
    dataset: DatasetConfig
    training: TrainingConfig
    teacher: str | None = None
    """model_id of the model that this one is distilled from."""

    @cached_property
    def model_id(self) -> str:
        """Readable slug plus a hash over every field but `recipe`, and the schema version.

        What is not in it: an architecture's options that are left at their defaults, the files of an image folder,
        and the code of a user's own functions. A student's teacher is in it by its own model_id alone.

        Seeds that differ stand in the order of `Seeds`: seed1_1_1_1_0 has label-noise seed 0.
        """
        seeds = self.seeds.model_dump()
        common = set(seeds.values())
        seed = str(common.pop()) if len(common) == 1 else "_".join(map(str, seeds.values()))
        optimizer = self.training.optimizer + "_sam" * bool(self.training.sam_radius)
        slug = f"{slugified(self.architecture)}-w{self.width}-{optimizer}-noise{self.label_noise:g}-seed{seed}"
        named = {"recipe", "architecture", "width", "seed"}
        fields = self.model_dump(exclude={"recipe": True, "training": {"distillation": named}})
        return f"{slug}-{fingerprint(fields)}"

    @cached_property
    def shape_key(self) -> str:
        """Equal for models that can be stacked: all but seeds, label noise, learning rate and teacher is the same."""
        differing: dict[str, Any] = {
            "seeds": True,
            "label_noise": True,
            "recipe": True,
            "teacher": True,
            "training": {"learning_rate"},
        }
        return json.dumps(self.model_dump(exclude=differing), sort_keys=True)


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
    """The product of these lists is the sweep's models; what is unset has the default that its text names.

    A stream's own seeds (`init_seed`, ...) override `seed` for that stream: `label_noise_seed: [0]` gives every
    training the same mislabelled images, `seed: [0]` with `init_seed: [0, 1, 2]` varies the initialisation alone.
    """

    architecture: Values[Architecture] | None = Field(None, description="fully_connected if unset.")
    width: Values[Count] | None = Field(None, description="The architecture's standard width if unset.")
    options: Options | None = Field(None, description="Options of the architecture, such as {patch_size: 2}.")
    label_noise: Values[Share] | None = Field(
        None, description="Share of each class's training labels replaced by another class; 0 if unset."
    )
    recipes: Annotated[dict[RecipeName, TrainingConfig], Field(min_length=1)] | None = Field(
        None, description="Named training settings: what of `training` each replaces."
    )
    learning_rate: Values[Positive] | None = Field(None, description="In place of the recipes' own.")
    seed: Values[Seed] | None = Field(None, description="[0, 1] if unset.")
    init_seed: Values[Seed] | None = None
    order_seed: Values[Seed] | None = None
    augmentation_seed: Values[Seed] | None = None
    dropout_seed: Values[Seed] | None = None
    label_noise_seed: Values[Seed] | None = None

    def seeds(self) -> Iterator[Seeds]:
        """Every combination of seeds that the grid asks for."""
        for seed in self.seed or DEFAULT_SEEDS:
            own = (getattr(self, f"{stream}_seed") or (seed,) for stream in Seeds.model_fields)
            for combination in itertools.product(*own):
                yield Seeds(**dict(zip(Seeds.model_fields, combination, strict=True)))

    def models(self, dataset: DatasetConfig, training: TrainingConfig) -> Iterator[ModelConfig]:
        """The product; `training` where there are no recipes. Students do not know their teachers yet."""
        recipes = self.recipes or {DEFAULT_RECIPE: training}
        for architecture in self.architecture or (DEFAULT_ARCHITECTURE,):
            widths = self.width or (standard_width(architecture),)
            cells = itertools.product(widths, self.label_noise or (0.0,), recipes, self.learning_rate or (None,))
            for (width, label_noise, recipe, learning_rate), seeds in itertools.product(cells, list(self.seeds())):
                settings = recipes[recipe]
                if learning_rate is not None:
                    settings = settings.model_copy(update={"learning_rate": learning_rate})
                yield ModelConfig(
                    architecture=architecture,
                    width=width,
                    options=self.options or {},
                    label_noise=label_noise,
                    recipe=recipe,
                    seeds=seeds,
                    dataset=dataset,
                    training=settings,
                )


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
    """Where and how wide to run. No result depends on it beyond floating-point rounding, but for what is drawn on the
    device: the dropout masks and the starts of attacks of a GPU are not those of a CPU."""

    cpus_per_cohort: Count = Field(1, description="CPU cores, and torch threads, of one training trial.")
    gpus_per_cohort: NonNegative = Field(0.0, description="GPUs, or a fraction of one, for one training trial.")
    small_cohorts_per_gpu: Count = Field(
        1, description="Trials that share what `gpus_per_cohort` says when their networks are too small to fill it."
    )
    max_cohort_size: Count = Field(32, description="Models trained side by side at most.")
    stack: Count | None = Field(
        None,
        description="Models of a cohort that are computed as one network; if unset, what is measured to be fastest "
        "when the cohort starts, within the memory there is. Set it to repeat a run to the last bit.",
    )
    execution: Literal["auto", "eager", "compiled", "cuda_graph"] = Field(
        "auto", description="How a captured training step runs; auto: cuda_graph on a GPU, eager on a CPU."
    )
    cpus_per_evaluator: Count = Field(1, description="CPU cores, and torch threads, of one evaluator.")
    gpus_per_evaluator: NonNegative = Field(0.0, description="GPUs, or a fraction of one, for one evaluator.")
    evaluators: Count | None = Field(None, description="Evaluator actors; as many as fit if unset.")
    checkpoint_seconds: NonNegative = Field(60.0, description="Time between two checkpoints of a cohort.")
    retries: Annotated[int, Field(strict=True, ge=0)] = Field(
        3, description="Restarts of a cohort, or of an evaluator, whose process died."
    )
    data_directory: str = Field("~/.cache/dbviz_ray", description="Where downloaded data sets are kept.")
    reuse: tuple[str, ...] = Field(
        (), description="Run directories of other sweeps; their trained models are taken over where they are the same."
    )
    gpu_hour_price: NonNegative | None = Field(None, description="Price of one GPU for an hour, for --plan.")

    @model_validator(mode="after")
    def _graphs_need_a_gpu(self) -> ResourcesConfig:
        if self.execution == "cuda_graph" and not self.gpus_per_cohort:
            raise ValueError(
                "execution: cuda_graph is not allowed with gpus_per_cohort=0; allowed: auto, eager, compiled"
            )
        return self


class SweepConfig(Frozen):
    """A named grid of models with how to train, evaluate and score them; one YAML file in sweeps/.

    `cases` are further grids whose models are joined; what `grid` says holds in all of them. Recipes (in `grid` or
    in a case) replace fields of `training`.
    """

    name: Name
    description: str = ""
    dataset: DatasetConfig = DatasetConfig()
    grid: GridConfig = GridConfig()
    cases: tuple[GridConfig, ...] = ()
    training: TrainingConfig = TrainingConfig()
    planes: Annotated[dict[Name, PlaneSetConfig], Field(min_length=1)] = {"test": PlaneSetConfig()}
    scores: Values[Literal["reproducibility", "fragmentation"]] = (
        "reproducibility",
        "fragmentation",
    )
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="before")
    @classmethod
    def _complete_recipes(cls, fields: Any) -> Any:
        """Let every recipe say what `training` says, but for its own fields."""
        if not isinstance(fields, Mapping) or not isinstance(fields.get("training", {}), Mapping):
            return fields
        common = fields.get("training", {})

        def completed(grid: Any) -> Any:
            recipes = grid.get("recipes") if isinstance(grid, Mapping) else None
            if not isinstance(recipes, Mapping):
                return grid
            full = {name: {**common, **own} if isinstance(own, Mapping) else own for name, own in recipes.items()}
            return {**grid, "recipes": full}

        changed = {key: completed(fields[key]) for key in ("grid",) if key in fields}
        if isinstance(fields.get("cases"), list | tuple):
            changed["cases"] = [completed(case) for case in fields["cases"]]
        return {**fields, **changed}

    @model_validator(mode="after")
    def _models_can_be_had(self) -> SweepConfig:
        for index, case in enumerate(self.cases):
            twice = sorted(case.model_dump(exclude_none=True).keys() & self.grid.model_dump(exclude_none=True).keys())
            if twice:
                raise ValueError(
                    f"cases.{index}.{twice[0]}: not allowed, since grid.{twice[0]} holds in all cases; "
                    "allowed: one of the two"
                )
        for grid in self._grids():
            seeds = list(grid.seeds())
            if len(set(seeds)) < len(seeds):
                raise ValueError(
                    f"grid.seed: {list(grid.seed or DEFAULT_SEEDS)} names the same training more than once, since the "
                    "seed lists of the streams override it; allowed: one seed where every stream has its own"
                )
            if "reproducibility" in self.scores and len(seeds) < 2:
                raise ValueError(
                    f"grid.seed: {list(grid.seed or DEFAULT_SEEDS)} trains one model of each kind and reproducibility "
                    "compares two or more; allowed: at least 2 seeds, or scores=[fragmentation]"
                )
        self._check_recipes()
        ids = [model.model_id for model in self.models()]
        if len(set(ids)) < len(ids):
            again = next(model for model in self.models() if ids.count(model.model_id) > 1)
            raise ValueError(
                f"cases: the model {again.model_id} is asked for more than once; allowed: grids and recipes that differ"
            )
        return self

    def _check_recipes(self) -> None:
        """ValueError if a recipe means two trainings of one network: results are grouped by its name."""
        meanings: dict[str, str] = {}
        for model in self.models():
            settings = model.training.model_dump_json(exclude={"learning_rate"})
            group = f"{model.architecture} {model.width} {model.options} {model.recipe} {model.training.learning_rate}"
            if meanings.setdefault(group, settings) != settings:
                raise ValueError(
                    f"cases: the recipe {model.recipe} of {model.architecture} has different settings in different "
                    "cases; allowed: a name for each"
                )

    def _grids(self) -> list[GridConfig]:
        """The grids whose models are joined, each with what holds in all of them."""
        common = {name: value for name, value in self.grid if value is not None}
        return [case.model_copy(update=common) for case in self.cases] or [self.grid]

    def models(self) -> list[ModelConfig]:
        """Every model of the sweep, in the order of its grids, students with their teachers."""
        return list(self._models)

    @cached_property
    def _models(self) -> tuple[ModelConfig, ...]:
        models = [model for grid in self._grids() for model in grid.models(self.dataset, self.training)]
        return tuple(_with_teacher(model, models) for model in models)

    def cohorts(self) -> list[Cohort]:
        """The models grouped by shape, at most `resources.max_cohort_size` together."""
        by_shape: dict[str, list[ModelConfig]] = {}
        for model in self._models:
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


def _with_teacher(student: ModelConfig, models: list[ModelConfig]) -> ModelConfig:
    """A distilled model with its teacher's model_id, any other as it is. ValueError unless there is one teacher."""
    wanted = student.training.distillation
    if wanted is None:
        return student
    architecture = wanted.architecture or student.architecture
    seeds = student.seeds if wanted.seed is None else None
    teachers = [
        model
        for model in models
        if (model.recipe, model.architecture, model.label_noise) == (wanted.recipe, architecture, student.label_noise)
        and wanted.width in (None, model.width)
        and (model.seeds == seeds if seeds else model.seeds.init == wanted.seed)
        and model.training.distillation is None
    ]
    if len(teachers) != 1:
        raise ValueError(
            f"recipes.{student.recipe}.distillation: {len(teachers)} models of the sweep fit as teacher (recipe "
            f"{wanted.recipe}, architecture {architecture}, width {wanted.width or 'any'}, label noise "
            f"{student.label_noise:g}, seed {'the same' if seeds else wanted.seed}); allowed: exactly one, "
            "which is not distilled itself"
        )
    return student.model_copy(update={"teacher": teachers[0].model_id})


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

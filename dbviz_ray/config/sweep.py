"""The configuration of a whole sweep, and where it runs."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dbviz_ray.config.addresses import checked_address
from dbviz_ray.config.grid import DEFAULT_SEEDS, GridConfig, with_teachers
from dbviz_ray.config.model import Cohort, ModelConfig, differing_fields
from dbviz_ray.config.planes import MarginsConfig, PlaneSetConfig, check_plane_sets, largest_noises
from dbviz_ray.config.training import DatasetConfig, TrainingConfig
from dbviz_ray.config.validation import Count, Folder, Frozen, Index, Name, NonNegative, PositiveShare, Values, excluded
from dbviz_ray.errors import FieldError


class ResourcesConfig(Frozen):
    """Where a sweep runs and which resources it uses. These fields change results only by floating-point rounding,
    with one exception: a GPU draws different dropout masks and attack starts than a CPU."""

    cpus_per_cohort: Count = Field(1, description="CPU cores, and torch threads, of one training trial.")
    gpus_per_cohort: NonNegative = Field(
        0.0, description="GPUs, or a fraction of one, for one training trial; with 0.5, two trials share a GPU."
    )
    gpu_memory: NonNegative | None = Field(
        None, description="Memory of one GPU in GiB; a cohort that needs more than its share gets the GPU alone."
    )
    max_cohort_size: Count = Field(32, description="Largest number of models in one cohort.")
    stack: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        None,
        description="Models of a cohort computed as one network. If unset, the fastest number that fits into memory: "
        "the first cohort of its kind measures it, and the node remembers it (folder choices of data_directory). Set "
        "it to repeat a run to the last bit elsewhere. 0: ordinary PyTorch modules, one by one; networks that cannot "
        "be computed as one are always trained so.",
    )
    execution: Literal["auto", "eager", "compiled", "cuda_graph"] = Field(
        "auto",
        description="How a captured training step runs; auto: cuda_graph on a GPU, eager on a CPU, and if a cohort "
        "trains for long enough to pay for it, also compiled where that is faster.",
    )
    cpus_per_evaluator: Count = Field(1, description="CPU cores, and torch threads, of one evaluator.")
    gpus_per_evaluator: NonNegative = Field(0.0, description="GPUs, or a fraction of one, for one evaluator.")
    evaluators: Count | None = Field(None, description="Number of evaluator actors; if unset, as many as fit.")
    checkpoint_seconds: NonNegative = Field(60.0, description="Time between two checkpoints of a cohort.")
    retries: Index = Field(3, description="Restarts of a cohort, or of an evaluator, whose process died.")
    data_directory: Folder = Field("~/.cache/dbviz_ray", description="Folder for downloaded data sets, on every node.")
    # Its UserError passes through pydantic, which would repeat the address in the message of a ValueError.
    reuse: tuple[Annotated[str, AfterValidator(partial(checked_address, field="resources.reuse"))], ...] = Field(
        (), description="Run directories of other sweeps; models with equal settings are copied, not trained."
    )
    gpu_hour_price: NonNegative | None = Field(None, description="Price of one GPU hour, shown by --plan.")

    @model_validator(mode="after")
    def _graphs_need_a_gpu(self) -> Self:
        if self.execution == "cuda_graph" and not self.gpus_per_cohort:
            raise excluded("execution", "cuda_graph", "gpus_per_cohort=0", "auto, eager or compiled")
        return self


class SweepConfig(Frozen):
    """A named grid of models, and how to train, evaluate and score them; one YAML file in sweeps/.

    `cases` are grids whose models are joined; the fields of `grid` hold in all of them. Recipes (in `grid` or in a
    case) replace fields of `training`.
    """

    name: Name = Field(description="Name of the sweep, and of its folder in runs/; the name of the file if unset.")
    description: str = Field("", description="The question of the sweep, for its report; no result depends on it.")
    dataset: DatasetConfig = Field(DatasetConfig(), description="The images.")
    grid: GridConfig = Field(GridConfig(), description="The models: every combination of these lists.")
    cases: tuple[GridConfig, ...] = Field(
        (), description="Grids whose models are joined; a field that `grid` sets holds in all of them."
    )
    training: TrainingConfig = Field(TrainingConfig(), description="How models are trained.")
    planes: dict[Name, PlaneSetConfig] = Field(
        default_factory=lambda: {"test": PlaneSetConfig()},
        min_length=1,
        description="Named sets of planes that every model labels; tables and figures begin with the first one.",
    )
    margins: MarginsConfig | None = Field(
        None, description="Distances from images to the decision boundary; none are measured if unset."
    )
    scores: Values[Literal["reproducibility", "fragmentation"]] = Field(
        ("reproducibility", "fragmentation"),
        description="Scores of label maps; reproducibility needs at least two seeds.",
    )
    minimum_region_share: PositiveShare = Field(
        0.002, description="Share of a plane's points from which on a region counts as large (5 of 50 x 50)."
    )
    resources: ResourcesConfig = Field(ResourcesConfig(), description="Where, and how wide, everything runs.")

    @model_validator(mode="before")
    @classmethod
    def _complete_recipes(cls, fields: Any) -> Any:
        """Complete every recipe with the fields of `training` that it does not set."""
        if not isinstance(fields, Mapping) or not isinstance(fields.get("training", {}), Mapping):
            return fields
        common, completed = fields.get("training", {}), dict(fields)
        if "grid" in fields:
            completed["grid"] = _with_full_recipes(fields["grid"], common)
        if isinstance(fields.get("cases"), list | tuple):
            completed["cases"] = [_with_full_recipes(case, common) for case in fields["cases"]]
        return completed

    @model_validator(mode="after")
    def _models_can_be_had(self) -> Self:
        for index, case in enumerate(self.cases):
            twice = sorted(case.model_dump(exclude_none=True).keys() & self.grid.model_dump(exclude_none=True).keys())
            if twice:
                reason = f"grid.{twice[0]} already holds in all cases"
                raise FieldError(f"cases.{index}.{twice[0]}", reason=reason, allowed="one of the two")
        for grid in self._grids():
            seeds, named = list(grid.seeds()), list(grid.seed or DEFAULT_SEEDS)
            if len(set(seeds)) < len(seeds):
                reason = "repeats trainings, since the streams have seed lists of their own"
                raise FieldError("grid.seed", named, reason=reason, allowed="one seed where every stream has its own")
            if "reproducibility" in self.scores and len(seeds) < 2:
                reason = "trains one model of each kind, and reproducibility compares at least two"
                allowed = "at least 2 seeds, or scores=[fragmentation]"
                raise FieldError("grid.seed", named, reason=reason, allowed=allowed)
        meanings: dict[str, TrainingConfig] = {}  # of a recipe for one network: tables group results by its name
        for model in self._models:
            group = f"{model.architecture} {model.width} {model.options} {model.recipe} {model.training.learning_rate}"
            if meanings.setdefault(group, model.training) != model.training:
                reason = f"the recipe {model.recipe} of {model.architecture} has other settings in another case"
                raise FieldError("cases", reason=reason, allowed="one name for each setting")
        model_id, times = Counter(model.model_id for model in self._models).most_common(1)[0]
        if times > 1:
            reason = f"the model {model_id} occurs {times} times"
            raise FieldError("cases", reason=reason, allowed="grids and recipes with other models")
        check_plane_sets(self.planes, self._models)
        return self

    def _grids(self) -> list[GridConfig]:
        """The grids whose models are joined, each with the fields that hold in all."""
        common = {name: value for name, value in self.grid if value is not None}
        return [case.model_copy(update=common) for case in self.cases] or [self.grid]

    def models(self) -> list[ModelConfig]:
        """Every model of the sweep, in the order of its grids, students with their teachers."""
        return list(self._models)

    @cached_property
    def _models(self) -> tuple[ModelConfig, ...]:
        return with_teachers(model for grid in self._grids() for model in grid.models(self.dataset, self.training))

    def cohorts(self) -> list[Cohort]:
        """The models grouped by shape, at most `resources.max_cohort_size` in a cohort."""
        by_shape: dict[str, list[ModelConfig]] = {}
        for model in self._models:
            by_shape.setdefault(model.shape_key, []).append(model)
        most = self.resources.max_cohort_size
        sizes = {shape: 1 if group[0].training.command else most for shape, group in by_shape.items()}
        return [
            Cohort(models=tuple(group[start : start + sizes[shape]]))
            for shape, group in by_shape.items()
            for start in range(0, len(group), sizes[shape])
        ]

    def identity(self) -> dict[str, Any]:
        """Every field that results depend on, as plain values: all except the description and the resources."""
        return self.model_dump(mode="json", exclude={"description", "resources"})

    def differs_from(self, smaller: Self) -> list[str]:
        """The fields that keep a run of `smaller` from becoming one of this sweep.

        There are none if this sweep only adds models, plane sets or margins, and draws the planes that are there alike.
        """
        own, other = self.identity(), smaller.identity()
        fields = list(differing_fields(other, own))
        if {model.model_id for model in smaller.models()} - {model.model_id for model in self.models()}:
            return fields
        relabelled = largest_noises(smaller.models()) != largest_noises(self.models())
        attacks_another = smaller.models()[0] != self.models()[0]
        for planes in smaller.planes.values():
            if (relabelled and planes.labels != "any") or (attacks_another and planes.off_manifold == "adversarial"):
                return fields
        free = {"grid", "cases", "training", *(["margins"] if smaller.margins is None else [])}
        added = {f"planes.{name}" for name in self.planes.keys() - smaller.planes.keys()}
        return [name for name in fields if name.split(".")[0] not in free and name not in added]


def _with_full_recipes(grid: Any, common: Mapping[str, Any]) -> Any:
    """A grid as it was written, each of its recipes with the `common` fields that it does not set."""
    recipes = grid.get("recipes") if isinstance(grid, Mapping) else None
    if not isinstance(recipes, Mapping):
        return grid
    full = {name: {**common, **own} if isinstance(own, Mapping) else own for name, own in recipes.items()}
    return {**grid, "recipes": full}

"""The configuration of a whole sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from dbviz_ray.config.grid import GridConfig, with_teachers
from dbviz_ray.config.model import Cohort, ModelConfig
from dbviz_ray.config.planes import MarginsConfig, PlaneSetConfig, check_plane_sets
from dbviz_ray.config.resources import ResourcesConfig
from dbviz_ray.config.training import DatasetConfig, TrainingConfig
from dbviz_ray.config.types import DEFAULT_SEEDS, Frozen, Name, PositiveShare, Values
from dbviz_ray.errors import FieldError


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
                raise FieldError(
                    f"cases.{index}.{twice[0]}",
                    reason=f"not allowed, since grid.{twice[0]} holds in all cases",
                    allowed="one of the two",
                )
        for grid in self._grids():
            seeds, named = list(grid.seeds()), list(grid.seed or DEFAULT_SEEDS)
            if len(set(seeds)) < len(seeds):
                raise FieldError(
                    "grid.seed",
                    named,
                    reason="names the same training more than once, since the seed lists of the streams override it",
                    allowed="one seed where every stream has its own",
                )
            if "reproducibility" in self.scores and len(seeds) < 2:
                raise FieldError(
                    "grid.seed",
                    named,
                    reason="trains one model of each kind, and reproducibility compares two or more",
                    allowed="at least 2 seeds, or scores=[fragmentation]",
                )
        self._check_recipes()
        asked_for = Counter(model.model_id for model in self._models)
        model_id, times = asked_for.most_common(1)[0]
        if times > 1:
            reason = f"the model {model_id} occurs {times} times"
            raise FieldError("cases", reason=reason, allowed="grids and recipes that differ")
        check_plane_sets(self.planes, self._models)
        return self

    def _check_recipes(self) -> None:
        """FieldError if a recipe has two meanings for one network, since results are grouped by its name."""
        meanings: dict[str, TrainingConfig] = {}
        for model in self._models:
            group = f"{model.architecture} {model.width} {model.options} {model.recipe} {model.training.learning_rate}"
            if meanings.setdefault(group, model.training) != model.training:
                raise FieldError(
                    "cases",
                    reason=f"the recipe {model.recipe} of {model.architecture} has different settings in different "
                    "cases",
                    allowed="a name for each",
                )

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
        size = self.resources.max_cohort_size
        return [
            Cohort(models=tuple(group[start : start + size]))
            for group in by_shape.values()
            for start in range(0, len(group), size)
        ]

    def identity(self) -> dict[str, Any]:
        """Every field that results depend on, as plain values: all except the description and the resources."""
        return self.model_dump(mode="json", exclude={"description", "resources"})

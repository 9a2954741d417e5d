"""Grids: products of lists, one model for each combination."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import Field

from dbviz_ray.config.model import DEFAULT_RECIPE, ModelConfig, Seeds
from dbviz_ray.config.registry import standard_width
from dbviz_ray.config.training import DatasetConfig, TrainingConfig
from dbviz_ray.config.validation import Architecture, Count, Frozen, Options, Positive, RecipeName, Seed, Share, Values
from dbviz_ray.errors import FieldError

DEFAULT_ARCHITECTURE, DEFAULT_SEEDS = "fully_connected", (0, 1, 2)


class GridConfig(Frozen):
    """Lists whose product is the sweep's models.

    Seeds of one stream (`init_seed`, ...) override `seed` for that stream: `label_noise_seed: [0]` gives every
    training the same mislabelled images; `seed: [0]` with `init_seed: [0, 1, 2]` varies only the initialisation.
    Only `train_set_seed` has no part in `seed`: without it, every model is trained on all training images.
    """

    architecture: Values[Architecture] | None = Field(
        None, description="Registered names, `timm/NAME`, or `package.module:function`; fully_connected if unset."
    )
    width: Values[Count] | None = Field(
        None, description="Hidden units, channels or another size of the network; its standard width if unset."
    )
    options: Options | None = Field(None, description="Options of the architecture, such as {patch_size: 2}.")
    label_noise: Values[Share] | None = Field(
        None,
        description="Share of each class's training labels replaced by another class; 0 if unset. With the same "
        "label_noise_seed, a larger share has all false labels of a smaller one.",
    )
    recipes: Annotated[dict[RecipeName, TrainingConfig], Field(min_length=1)] | None = Field(
        None, description="Named training settings; each lists the fields of `training` that it replaces."
    )
    learning_rate: Values[Positive] | None = Field(None, description="Replaces the learning rate of every recipe.")
    seed: Values[Seed] | None = Field(
        None, description="Seeds of all random streams without seeds of their own; [0, 1, 2] if unset."
    )
    init_seed: Values[Seed] | None = Field(None, description="Seeds of the initial weights; `seed` if unset.")
    order_seed: Values[Seed] | None = Field(
        None, description="Seeds of the order of the training images; `seed` if unset."
    )
    augmentation_seed: Values[Seed] | None = Field(
        None, description="Seeds of crops, flips, mixing and the starts of attacks; `seed` if unset."
    )
    dropout_seed: Values[Seed] | None = Field(None, description="Seeds of dropout masks; `seed` if unset.")
    label_noise_seed: Values[Seed] | None = Field(
        None, description="Seeds of label noise: which labels change, and to which class; `seed` if unset."
    )
    train_set_seed: Values[Seed] | None = Field(
        None,
        description="Seeds of the training set: each draws as many training images as there are, with replacement (a "
        "bootstrap). All of them, each once, if unset.",
    )

    def seeds(self) -> Iterator[Seeds]:
        """Every combination of seeds."""
        for seed in self.seed or DEFAULT_SEEDS:
            unset = dict.fromkeys(Seeds.model_fields, seed) | {"train_set": None}
            own = (getattr(self, f"{stream}_seed") or (of_unset,) for stream, of_unset in unset.items())
            for combination in itertools.product(*own):
                yield Seeds(**dict(zip(Seeds.model_fields, combination, strict=True)))

    def models(self, dataset: DatasetConfig, training: TrainingConfig) -> Iterator[ModelConfig]:
        """The product, with `training` if there are no recipes; `with_teachers` then fills in the teachers."""
        # Models share these objects, so that 100,000 of them take no more memory for their settings than one.
        settings = [
            (name, recipe if rate is None else recipe.model_copy(update={"learning_rate": rate}))
            for name, recipe in (self.recipes or {DEFAULT_RECIPE: training}).items()
            for rate in self.learning_rate or (None,)
        ]
        all_seeds = list(self.seeds())
        for architecture in self.architecture or (DEFAULT_ARCHITECTURE,):
            widths = self.width or (standard_width(architecture),)
            cells = itertools.product(widths, self.label_noise or (0.0,), settings, all_seeds)
            for width, label_noise, (recipe, recipe_settings), seeds in cells:
                yield ModelConfig(
                    architecture=architecture,
                    width=width,
                    options=self.options or {},
                    label_noise=label_noise,
                    recipe=recipe,
                    seeds=seeds,
                    dataset=dataset,
                    training=recipe_settings,
                )


Key = tuple[str, str, float, int | None, Seeds | int]
"""How a student selects a teacher: recipe, architecture, label noise, width (None: any), all seeds or the init seed."""


def with_teachers(models: Iterable[ModelConfig]) -> tuple[ModelConfig, ...]:
    """The models, with the teacher's model_id in each student. FieldError unless each student has one teacher."""
    models = tuple(models)
    if all(model.training.distillation is None for model in models):
        return models
    # A dictionary, since comparing every student with every model would be quadratic.
    teachers: dict[Key, list[ModelConfig]] = {}
    for model in models:
        if model.training.distillation is None:
            for width in (None, model.width):
                for seed in (model.seeds, model.seeds.init):
                    key = model.recipe, model.architecture, model.label_noise, width, seed
                    teachers.setdefault(key, []).append(model)
    return tuple(_with_teacher(model, teachers) for model in models)


def _with_teacher(student: ModelConfig, teachers: dict[Key, list[ModelConfig]]) -> ModelConfig:
    wanted = student.training.distillation
    if wanted is None:
        return student
    architecture = wanted.architecture or student.architecture
    seed = student.seeds if wanted.seed is None else wanted.seed
    found = teachers.get((wanted.recipe, architecture, student.label_noise, wanted.width, seed), [])
    if len(found) != 1:
        raise FieldError(
            f"grid.recipes.{student.recipe}.distillation",
            reason=f"{len(found)} models fit as its teacher (recipe {wanted.recipe}, architecture {architecture}, "
            f"width {wanted.width or 'any'}, label noise {student.label_noise:g}, seed "
            f"{'of the student' if wanted.seed is None else wanted.seed})",
            allowed="exactly one, which is not distilled itself",
        )
    return student.model_copy(update={"teacher": found[0].model_id})

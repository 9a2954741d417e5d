"""Which model of a sweep each distilled one learns from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dbviz_ray.config.model import ModelConfig, Seeds

Key = tuple[str, str, float, int | None, Seeds | int]
"""What students may ask for: recipe, architecture, label noise, width (None: any), and all seeds or the init seed."""


def with_teachers(models: Iterable[ModelConfig]) -> tuple[ModelConfig, ...]:
    """The models, the distilled ones with their teacher's model_id. ValueError unless each has one teacher."""
    models = tuple(models)
    if all(model.training.distillation is None for model in models):
        return models
    # Found by what is asked for: one student after another comparing all models would be quadratic.
    teachers: dict[Key, list[ModelConfig]] = {}
    for model in models:
        for key in _fits(model) if model.training.distillation is None else ():
            teachers.setdefault(key, []).append(model)
    return tuple(_with_teacher(model, teachers) for model in models)


def _fits(teacher: ModelConfig) -> Iterator[Key]:
    """All that a student may say to mean this model."""
    for width in (None, teacher.width):
        for seed in (teacher.seeds, teacher.seeds.init):
            yield teacher.recipe, teacher.architecture, teacher.label_noise, width, seed


def _with_teacher(student: ModelConfig, teachers: dict[Key, list[ModelConfig]]) -> ModelConfig:
    wanted = student.training.distillation
    if wanted is None:
        return student
    architecture = wanted.architecture or student.architecture
    seed = student.seeds if wanted.seed is None else wanted.seed
    found = teachers.get((wanted.recipe, architecture, student.label_noise, wanted.width, seed), [])
    if len(found) != 1:
        raise ValueError(
            f"recipes.{student.recipe}.distillation: {len(found)} models of the sweep fit as teacher (recipe "
            f"{wanted.recipe}, architecture {architecture}, width {wanted.width or 'any'}, label noise "
            f"{student.label_noise:g}, seed {'the same' if wanted.seed is None else wanted.seed}); allowed: exactly "
            "one, which is not distilled itself"
        )
    return student.model_copy(update={"teacher": found[0].model_id})

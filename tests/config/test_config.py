import runpy
from itertools import product
from pathlib import Path

import pytest
import torch
from conftest import small_sweep
from hypothesis import given
from hypothesis import strategies as st

from dbviz_ray import config
from dbviz_ray.config import SweepConfig, largest_noises
from dbviz_ray.config.seeds import derived_seed, numpy_generator, torch_generator
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.config.validation import validated

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = "\n".join(page.read_text() for page in DOCS.glob("configuration*.md"))
GROUPS = [getattr(config, name) for name in config.__all__ if name.endswith("Config") and name != "ModelConfig"]


def test_model_id_depends_on_every_field():
    def ids(**fields):
        return {model.model_id for model in small_sweep(**fields).models()}

    training, grid = {"epochs": 3, "batch_size": 64}, {"width": [4, 16], "label_noise": [0.0, 0.2], "seed": [0, 1, 2]}
    of_training = ({"learning_rate": 0.02}, {"evaluate_every": 2}, {"sam_radius": 0.1}, {"snapshots": [1]})
    changes = [
        *({"training": training | change} for change in of_training),
        {"dataset": {"name": "digits", "train_size": 200, "held_out": 50}},
        {"dataset": {"name": "digits", "train_size": 200, "test_size": 99}},
        {"grid": grid | {"init_seed": [7]}},
    ]
    for change in changes:
        assert not ids() & ids(**change), change
    assert ids() == ids(planes={"other": {"count": 3}}, resources={"retries": 0}, description="words")


def test_a_stream_of_its_own_overrides_the_seed():
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1], "label_noise_seed": [5], "init_seed": [8, 9]})
    seeds = [model.seeds for model in sweep.models()]
    assert {s.label_noise for s in seeds} == {5}
    assert [(s.order, s.init) for s in seeds] == [(0, 8), (0, 9), (1, 8), (1, 9)]
    assert {s.train_set for s in seeds} == {None}
    drawn = small_sweep(grid={"width": [4], "seed": [0, 1], "train_set_seed": [3]}).models()
    assert [(model.seeds.order, model.seeds.train_set) for model in drawn] == [(0, 3), (1, 3)]
    assert all("-set3-" in model.model_id for model in drawn)


def test_cohorts_hold_models_of_one_shape_and_limited_size():
    sweep = small_sweep(resources={"max_cohort_size": 4})
    cohorts = sweep.cohorts()
    assert [len(cohort.models) for cohort in cohorts] == [4, 2, 4, 2]
    assert all(len({model.shape_key for model in cohort.models}) == 1 for cohort in cohorts)
    assert len({cohort.cohort_id for cohort in cohorts}) == 4
    assert [m for c in cohorts for m in c.models] == sweep.models()
    [of_rates] = small_sweep(grid={"width": [4], "learning_rate": [0.1, 0.01], "seed": [0, 1]}).cohorts()
    assert [m.training.learning_rate for m in of_rates.models] == [0.1, 0.1, 0.01, 0.01]
    assert len({m.model_id for m in of_rates.models}) == 4


@pytest.mark.parametrize(
    ("name", "model_id", "cohort_id"),
    [
        ("double_descent_digits", "fully_connected-w512-adam-noise0.2-seed3-labels0-45721a62d9",
         "fully_connected-w512-x8-c23d2728a2"),
        ("double_descent", "resnet18_width-w64-adam-noise0.2-seed2-labels0-2921feda0c",
         "resnet18_width-w64-x6-c35c81b5af"),
        ("distillation", "vit-w512-sgd-noise0-seed4-b5a58b88ef", "vit-w512-x5-d467f1f95d"),
        ("optimizers_digits", "vit-w32-sgd_sam-noise0.2-seed4-labels0-405ebd7c21", "vit-w32-x5-0e50938d40"),
        ("streams", "resnet18-w64-sgd-noise0-seed2-dropout0-labels0-set2-31e9b7b10d", "resnet18-w64-x17-e11259c124"),
    ],
)  # fmt: skip
def test_names_of_models_and_cohorts_stay(name, model_id, cohort_id):
    """A changed name orphans every stored model: raise SCHEMA_VERSION on purpose, never by accident."""
    sweep = load_sweep(name)
    assert (sweep.models()[-1].model_id, sweep.cohorts()[-1].cohort_id) == (model_id, cohort_id)


def test_a_file_of_ones_own(tmp_path):
    (tmp_path / "mine.yaml").write_text("grid: {width: [3], seed: [0, 1]}\ntraining: {learning_rate: 1e-3}\n")
    sweep = load_sweep(f"{tmp_path}/mine.yaml")
    assert (sweep.name, sweep.training.learning_rate) == ("mine", 1e-3)


def test_cases_are_joined_and_share_what_the_grid_says():
    cases = [{"architecture": ["vit", "vgg19"]}, {"architecture": ["wide_resnet28"], "width": [1, 2]}]
    models = small_sweep(grid={"seed": [3, 4]}, cases=cases).models()
    found = [(m.architecture, m.width) for m in models[::2]]
    assert found == [("vit", 512), ("vgg19", 64), ("wide_resnet28", 1), ("wide_resnet28", 2)]
    assert [m.seeds.init for m in models] == [3, 4] * 4


def test_recipes_replace_fields_of_the_common_training_and_name_no_model():
    recipes = {"slow": {"learning_rate": 0.001}, "sgd": {"optimizer": "sgd", "momentum": 0.9}}
    models = small_sweep(grid={"width": [4], "recipes": recipes}).models()
    found = {(m.recipe, m.training.epochs, m.training.optimizer, m.training.learning_rate) for m in models}
    assert found == {("slow", 3, "adam", 0.001), ("sgd", 3, "sgd", 0.01)}
    first, second = (small_sweep(grid={"width": [4], "recipes": {name: {}}}) for name in ("a", "b"))
    assert [m.model_id for m in first.models()] == [m.model_id for m in second.models()]
    assert first.identity() != second.identity()


def test_students_know_their_teachers():
    """By default a student's own seed chooses its teacher; a selector may name a seed and a width."""
    recipes = {
        "alone": {},
        "own": {"distillation": {"recipe": "alone", "width": 16}},
        "first": {"distillation": {"recipe": "alone", "width": 16, "seed": 0, "temperature": 4.0}},
    }
    sweep = small_sweep(grid={"seed": [0, 1], "width": [4, 16], "recipes": recipes})
    models = {(m.recipe, m.width, m.seeds.init): m for m in sweep.models()}
    for (recipe, _, seed), model in models.items():
        teacher = {"alone": None, "own": models["alone", 16, seed], "first": models["alone", 16, 0]}[recipe]
        assert model.teacher == (teacher and teacher.model_id)
    assert len({model.model_id for model in sweep.models()}) == 3 * 2 * 2


def test_a_teacher_is_in_its_students_name_by_what_it_is_alone():
    def students(teachers_recipe, **selector):
        recipes = {teachers_recipe: {}, "student": {"distillation": {"recipe": teachers_recipe, **selector}}}
        grid = {"seed": [0, 1], "width": [4], "label_noise_seed": [5], "recipes": recipes}
        return [m.model_id for m in small_sweep(grid=grid).models() if m.teacher]

    assert students("alone") == students("plain") == students("plain", width=4)
    assert students("alone", seed=1)[1] == students("alone")[1]
    assert students("alone", seed=1)[0] != students("alone")[0]


def test_a_relative_data_directory_is_the_same_for_every_process(here):
    assert small_sweep(resources={"data_directory": "data"}).resources.data_directory == str(here / "data")
    assert small_sweep().resources.data_directory.startswith("~")


def test_resolved_sweeps_are_themselves():
    planes = {"given": {"indices": [[0, 1, 2], [3, 4, 5]]}, "attack": {"off_manifold": "adversarial", "adversary": {}}}
    for sweep in (load_sweep("optimizers"), small_sweep(planes=planes)):
        assert validated(SweepConfig, sweep.model_dump(mode="json")) == sweep


def test_the_largest_label_noise_of_each_seed_says_which_images_are_mislabelled():
    one, other = ({"label_noise": [0.0, share], "label_noise_seed": [3, seed]} for share, seed in ((0.2, 4), (0.1, 5)))
    sweep = small_sweep(grid={"width": [4], "seed": [0]}, cases=[one, other | {"init_seed": [7]}])
    assert largest_noises(sweep.models()) == {3: 0.2, 4: 0.2, 5: 0.1}
    assert largest_noises(small_sweep(grid={"width": [4], "label_noise": [0.0]}).models()) == {}


def test_the_pages_are_what_is_generated():
    for page, text in runpy.run_path(str(DOCS / "configuration.py"))["pages"]().items():
        assert (DOCS / page).read_text() == text, "run python docs/configuration.py"


@pytest.mark.parametrize("group", GROUPS)
def test_every_field_is_described(group):
    assert not [name for name, field in group.model_fields.items() if not field.description]
    assert f"\n{(group.__doc__ or '').strip().splitlines()[0]}" in PAGES
    rows = [line for line in PAGES.splitlines() if line.startswith("| `")]
    for name, field in group.model_fields.items():
        assert [row for row in rows if row.startswith(f"| `{name}` ") and field.description.replace("|", "\\|") in row]


def test_streams_seeds_and_counters_are_unrelated():
    addresses = product(("init", "order"), range(20), range(20))
    assert len({derived_seed(*address) for address in addresses}) == 2 * 20 * 20
    assert derived_seed("order", 1, 23) != derived_seed("order", 12, 3)
    known = "a changed derivation changes every result: raise SCHEMA_VERSION with it"
    assert derived_seed("init", 0) == 7285725289518747431, known


@given(st.integers(0, 2**63 - 1))
def test_seeds_fit_a_generator_and_repeat(seed):
    first = torch.rand(3, generator=torch_generator("cpu", "order", seed))
    assert torch.equal(first, torch.rand(3, generator=torch_generator("cpu", "order", seed)))
    assert numpy_generator("order", seed).random() == numpy_generator("order", seed).random()

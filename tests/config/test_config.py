from __future__ import annotations

import pytest
from conftest import small_sweep

from dbviz_ray.config import SweepConfig, differing_fields, fingerprint
from dbviz_ray.config.sweep_files import embedded_sweeps, load_sweep
from dbviz_ray.config.validation import validated
from dbviz_ray.errors import UserError


def test_models_are_the_product_of_the_grid(sweep):
    models = sweep.models()
    assert len(models) == 2 * 2 * 3
    assert len({model.model_id for model in models}) == len(models)
    assert models[0].model_id.startswith("fully_connected-w4-adam-noise0-seed0-")


def test_model_id_depends_on_every_field(sweep):
    def ids(**fields):
        return {model.model_id for model in small_sweep(**fields).models()}

    changes = [
        {"training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.02}},
        {"training": {"epochs": 3, "batch_size": 64, "evaluate_every": 2}},
        {"training": {"epochs": 3, "batch_size": 64, "sam_radius": 0.1}},
        {"training": {"epochs": 3, "batch_size": 64, "snapshots": [1]}},
        {"dataset": {"name": "digits", "train_size": 200, "held_out": 50}},
        {"dataset": {"name": "digits", "train_size": 200, "test_size": 99}},
        {"grid": {"width": [4, 16], "label_noise": [0.0, 0.2], "seed": [0, 1, 2], "init_seed": [7]}},
    ]
    for change in changes:
        assert not ids() & ids(**change), change
    assert ids() == ids(planes={"other": {"count": 3}}, resources={"retries": 0}, description="words")


def test_a_stream_of_its_own_overrides_the_seed():
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1], "label_noise_seed": [5], "init_seed": [8, 9]})
    seeds = [model.seeds for model in sweep.models()]
    assert {s.label_noise for s in seeds} == {5}
    assert [(s.order, s.init) for s in seeds] == [(0, 8), (0, 9), (1, 8), (1, 9)]


def test_cohorts_hold_models_of_one_shape_and_limited_size():
    sweep = small_sweep(resources={"max_cohort_size": 4})
    cohorts = sweep.cohorts()
    assert [len(cohort.models) for cohort in cohorts] == [4, 2, 4, 2]
    for cohort in cohorts:
        assert len({model.shape_key for model in cohort.models}) == 1
    assert len({cohort.cohort_id for cohort in cohorts}) == 4
    assert [m for c in cohorts for m in c.models] == sweep.models()


def test_fingerprint_is_stable():
    """A changed fingerprint orphans every stored model: raise SCHEMA_VERSION on purpose, never by accident."""
    assert fingerprint({"a": 1, "b": [2.5, None]}) == fingerprint({"b": [2.5, None], "a": 1})
    digits = load_sweep("double_descent_digits").models()[0]
    assert digits.model_id == "fully_connected-w2-adam-noise0-seed0-2381e1ac09"


@pytest.mark.parametrize(
    ("name", "model_id", "cohort_id"),
    [
        ("distillation", "vit-w512-sgd-noise0-seed4-3b1c0b95a3", "vit-w512-x5-40196723db"),
        ("optimizers_digits", "vit-w32-sgd_sam-noise0.2-seed4-labels0-3c69811175", "vit-w32-x5-1d51724da0"),
        ("streams", "resnet18-w64-sgd-noise0-seed2-dropout0-labels0-d796d659f3", "resnet18-w64-x27-14e457639b"),
    ],
)
def test_names_of_models_and_cohorts_stay(name, model_id, cohort_id):
    """Of students, several streams, recipes and options; results of finished runs are found by them."""
    sweep = load_sweep(name)
    assert (sweep.models()[-1].model_id, sweep.cohorts()[-1].cohort_id) == (model_id, cohort_id)


def test_differing_fields_are_named_with_dots():
    left, right = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}
    assert list(differing_fields(left, right)) == ["a.c", "d", "e"]


def test_every_embedded_sweep_loads():
    for name in embedded_sweeps():
        assert load_sweep(name).name == name


def test_the_papers_sweep():
    sweep = load_sweep("double_descent")
    assert len(sweep.models()) == 25 * 2 * 2
    assert {m.seeds.label_noise for m in sweep.models()} == {0}
    assert sweep.training.learning_rate == 1e-4
    assert sweep.training.epochs == 4000


def test_overrides_reach_nested_fields():
    sweep = load_sweep("double_descent_digits", ["training.epochs=50", "grid.width=[4,16]", "planes.test.count=7"])
    assert (sweep.training.epochs, sweep.grid.width, sweep.planes["test"].count) == (50, (4, 16), 7)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("grid: {width: [3], seed: [0, 1]}\ntraining: {learning_rate: 1e-3}\n")
    sweep = load_sweep(str(path))
    assert (sweep.name, sweep.training.learning_rate) == ("mine", 1e-3)


@pytest.mark.parametrize(
    ("override", "field", "advice"),
    [
        ("training.epohs=3", "training.epohs", "did you mean epochs?"),
        ("training.epochs=many", "training.epochs", "an integer"),
        ("training.epochs=true", "training.epochs", "an integer"),
        ("training.epochs=1.5", "training.epochs", "an integer"),
        ("training=3", "training", "a mapping"),
        ("training.epochs.x=1", "training.epochs.x", "epochs has no fields"),
        ("training.learning_rate=.nan", "training.learning_rate", "finite"),
        ("training.optimizer=lion", "training.optimizer", "'sgd', 'adam' or 'adamw'"),
        ("training.momentum=0.9", "training.momentum", "optimizer=sgd"),
        ("grid.width=[0]", "grid.width.0", "at least 1"),
        ("grid.width=4", "grid.width", "a list"),
        ("grid.width=[]", "grid.width", "at least 1 value"),
        ("grid.width=[4,4]", "grid.width", "every value once"),
        ("grid.label_noise=[1.5]", "grid.label_noise.0", "at most 1"),
        ("grid.seed=[0]", "grid.seed", "at least 2 seeds"),
        ("grid.architecture=[resnet19]", "grid.architecture.0", "did you mean resnet18"),
        ("grid.architecture=[no_such.module:f]", "grid.architecture.0", "no_such.module is neither"),
        ("grid.recipes={a: {lerning_rate: 1.0}}", "grid.recipes.a.lerning_rate", "did you mean learning_rate"),
        ("grid.recipes={a: {momentum: 0.5}}", "grid.recipes.a.momentum", "optimizer=sgd"),
        ("grid.recipes={a: {}, b: {}}", "cases", "2 times"),
        ("grid.recipes={a: {}, b: {distillation: {recipe: c}}}", "grid.recipes.b.distillation", "exactly one"),
        ("cases=[{widht: [2]}]", "cases.0.widht", "did you mean width?"),
        ("cases=[{width: [2]}]", "cases.0.width", "grid.width holds in all cases"),
        ("training.snapshots=[400]", "training.snapshots", "before the last"),
        ("training.mixing_alpha=0.5", "training.mixing_alpha", "mixup or cutmix"),
        ("resources.execution=cuda_graph", "resources.execution", "eager or compiled"),
        ("dataset.name=digit", "dataset.name", "did you mean digits?"),
        ("planes={}", "planes", "at least 1 value"),
        ("planes.a/b.count=3", "planes.a/b", "A-Za-z0-9"),
        ("planes.test.cuont=3", "planes.test.cuont", "did you mean count?"),
        ("description=2026-02-30", "description", "YAML"),
        ("oops", "override", "key=value"),
        ("training.epochs=[", "training.epochs", "YAML"),
        ("name=../up", "name", "A-Za-z0-9"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field_and_what_is_allowed(override, field, advice):
    with pytest.raises(UserError) as caught:
        load_sweep("double_descent_digits", [override])
    (mistake,) = caught.value.mistakes
    assert mistake.field == field
    assert advice in str(mistake)
    assert "\n" not in str(mistake)


def test_one_seed_is_enough_without_reproducibility():
    assert load_sweep("double_descent_digits", ["grid.seed=[0]", "scores=[fragmentation]"]).scores == ("fragmentation",)


def test_unknown_sweep_names_the_nearest():
    with pytest.raises(UserError, match="did you mean double_descent"):
        load_sweep("double_decsent")


def test_cases_are_joined_and_share_what_the_grid_says():
    sweep = small_sweep(
        grid={"seed": [3, 4]},
        cases=[{"architecture": ["vit", "vgg19"]}, {"architecture": ["wide_resnet28"], "width": [1, 2]}],
    )
    models = sweep.models()
    found = [(m.architecture, m.width) for m in models[::2]]
    assert found == [("vit", 512), ("vgg19", 64), ("wide_resnet28", 1), ("wide_resnet28", 2)]
    assert [m.seeds.init for m in models] == [3, 4] * 4


def test_recipes_replace_fields_of_the_common_training():
    recipes = {"slow": {"learning_rate": 0.001}, "sgd": {"optimizer": "sgd", "momentum": 0.9}}
    sweep = small_sweep(grid={"width": [4], "recipes": recipes})
    by_name = {m.recipe: m.training for m in sweep.models()}
    assert {t.epochs for t in by_name.values()} == {3}
    assert (by_name["slow"].optimizer, by_name["slow"].learning_rate) == ("adam", 0.001)
    assert (by_name["sgd"].optimizer, by_name["sgd"].learning_rate) == ("sgd", 0.01)


def test_a_recipes_name_is_no_part_of_a_model():
    first, second = (small_sweep(grid={"width": [4], "recipes": {name: {}}}) for name in ("a", "b"))
    assert [m.model_id for m in first.models()] == [m.model_id for m in second.models()]
    assert first.identity() != second.identity()


def test_models_that_differ_in_learning_rate_share_a_cohort():
    sweep = small_sweep(grid={"width": [4], "learning_rate": [0.1, 0.01], "seed": [0, 1]})
    [cohort] = sweep.cohorts()
    assert [m.training.learning_rate for m in cohort.models] == [0.1, 0.1, 0.01, 0.01]
    assert len({m.model_id for m in cohort.models}) == 4


def test_students_know_their_teachers():
    grid = {
        "seed": [0, 1],
        "width": [4],
        "recipes": {
            "alone": {},
            "own": {"distillation": {"recipe": "alone"}},
            "first": {"distillation": {"recipe": "alone", "seed": 0, "temperature": 4.0}},
        },
    }
    models = {(m.recipe, m.seeds.init): m for m in small_sweep(grid=grid).models()}
    assert models["alone", 0].teacher is None
    assert [models["own", seed].teacher for seed in (0, 1)] == [models["alone", seed].model_id for seed in (0, 1)]
    assert [models["first", seed].teacher for seed in (0, 1)] == [models["alone", 0].model_id] * 2
    assert models["own", 0].model_id != models["first", 0].model_id


def test_a_teacher_is_in_its_students_name_by_what_it_is_alone():
    def students(teachers_recipe, **selector):
        recipes = {teachers_recipe: {}, "student": {"distillation": {"recipe": teachers_recipe, **selector}}}
        grid = {"seed": [0, 1], "width": [4], "label_noise_seed": [5], "recipes": recipes}
        return [m.model_id for m in small_sweep(grid=grid).models() if m.teacher]

    assert students("alone") == students("plain") == students("plain", width=4)
    assert students("alone", seed=1)[1] == students("alone")[1]
    assert students("alone", seed=1)[0] != students("alone")[0]


def test_one_teacher_must_fit():
    recipes = {"alone": {}, "student": {"distillation": {"recipe": "alone", "seed": 1}}}
    with pytest.raises(UserError, match=r"recipes.student.distillation: 2 models"):
        small_sweep(grid={"width": [4, 16], "recipes": recipes})
    recipes["student"]["distillation"]["width"] = 16
    models = small_sweep(grid={"width": [4, 16], "recipes": recipes}).models()
    [teacher] = [m for m in models if (m.recipe, m.width, m.seeds.init) == ("alone", 16, 1)]
    assert {m.teacher for m in models if m.recipe == "student"} == {teacher.model_id}


def test_a_student_is_no_teacher():
    recipes = {"a": {"distillation": {"recipe": "b"}}, "b": {"distillation": {"recipe": "a"}}}
    with pytest.raises(UserError, match=r"recipes.a.distillation: 0 models"):
        small_sweep(grid={"width": [4], "recipes": recipes})


def test_a_resolved_sweep_is_itself():
    sweep = load_sweep("optimizers")
    assert validated(SweepConfig, sweep.model_dump(mode="json")) == sweep


def test_yaml_never_constructs_objects(tmp_path):
    path = tmp_path / "hostile.yaml"
    path.write_text("grid: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError, match="not readable as YAML"):
        load_sweep(str(path))


def test_the_same_training_twice_is_refused():
    streams = {f"{stream}_seed": [0] for stream in ("init", "order", "augmentation", "dropout", "label_noise")}
    with pytest.raises(UserError, match=r"grid.seed: \[0, 1\] names the same training more than once"):
        small_sweep(grid={"width": [4], "seed": [0, 1], **streams})


def test_a_recipe_means_one_training_of_a_network():
    cases = [{"recipes": {"a": {"epochs": epochs}}, "seed": [epochs, epochs + 1]} for epochs in (3, 5)]
    with pytest.raises(UserError, match=r"the recipe a of fully_connected has different settings"):
        small_sweep(grid={"width": [4]}, cases=cases)


def test_a_relative_data_directory_is_the_same_for_every_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert small_sweep(resources={"data_directory": "data"}).resources.data_directory == str(tmp_path / "data")
    assert small_sweep().resources.data_directory.startswith("~")


def test_credentials_in_an_address_are_refused_and_not_repeated():
    with pytest.raises(UserError, match=r"resources\.reuse: .* holds credentials.*AWS_PROFILE") as refused:
        small_sweep(resources={"reuse": ["s3://KEY:hunter2@bucket/run"]})
    assert "hunter2" not in str(refused.value)
    assert "s3://bucket/run" in small_sweep(resources={"reuse": ["s3://bucket/run"]}).resources.reuse

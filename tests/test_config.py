from __future__ import annotations

import pytest
from conftest import small_sweep

from dbviz_ray.config import differing_fields, fingerprint
from dbviz_ray.errors import UserError
from dbviz_ray.sweep_files import embedded_sweeps, load_sweep


def test_models_are_the_product_of_the_grid(sweep):
    models = sweep.models()
    assert len(models) == 2 * 2 * 3
    assert len({model.model_id for model in models}) == len(models)
    assert models[0].model_id.startswith("fully_connected-w4-noise0-seed0-")


def test_model_id_depends_on_every_field(sweep):
    def ids(**fields):
        return {model.model_id for model in small_sweep(**fields).models()}

    changes = [
        {"training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.02}},
        {"training": {"epochs": 3, "batch_size": 64, "evaluate_every": 2}},
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
    assert digits.model_id == "fully_connected-w2-noise0-seed0-cad7516a0b"


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
    ("override", "field", "allowed"),
    [
        ("training.epohs=3", "training.epohs: unknown key; did you mean epochs?", "batch_size"),
        ("training.epochs=many", "training.epochs: 'many'", "integer"),
        ("training.epochs=true", "training.epochs: True", "integer"),
        ("training.epochs=1.5", "training.epochs: 1.5", "integer"),
        ("training=3", "training: 3", "a mapping"),
        ("training.epochs.x=1", "training.epochs.x: unknown key", "epochs has no fields"),
        ("training.learning_rate=.nan", "training.learning_rate: nan", "finite"),
        ("training.optimizer=adamw", "training.optimizer: 'adamw'", "'adam' or 'sgd'"),
        ("training.momentum=0.9", "training.momentum: 0.9", "optimizer=sgd"),
        ("grid.width=[0]", "grid.width.0: 0", "at least 1"),
        ("grid.width=4", "grid.width: 4", "a list"),
        ("grid.width=[]", "grid.width: []", "at least 1 value"),
        ("grid.width=[4,4]", "grid.width: [4, 4]", "every value once"),
        ("grid.label_noise=[1.5]", "grid.label_noise.0: 1.5", "at most 1"),
        ("grid.seed=[-1]", "grid.seed.0: -1", "at least 0"),
        ("grid.seed=[0]", "grid.seed: [0]", "at least 2 seeds"),
        ("grid.architecture=[resnet18]", "grid.architecture.0: 'resnet18'", "did you mean resnet18_width?"),
        ("grid.architecture=[no_such.module:f]", "grid.architecture.0: 'no_such.module:f'", "importable"),
        ("dataset.name=digit", "dataset.name: 'digit'", "did you mean digits?"),
        ("planes={}", "planes: {}", "at least 1 value"),
        ("planes.a/b.count=3", "planes.a/b: 'a/b'", "match pattern"),
        ("planes.test.resolution=1", "planes.test.resolution: 1", "at least 2"),
        ("planes.test.count=1", "planes.test.count: 1", "at least 2"),
        ("planes.test.cuont=3", "planes.test.cuont: unknown key; did you mean count?", "resolution"),
        ("description=2026-02-30", "description: '2026-02-30'", "YAML"),
        ("oops", "override 'oops'", "key=value"),
        ("training.epochs=[", "training.epochs: '['", "YAML"),
        ("name=../up", "name: '../up'", "match pattern"),
    ],
)
def test_bad_input_is_one_line_that_names_field_value_and_what_is_allowed(override, field, allowed):
    with pytest.raises(UserError) as caught:
        load_sweep("double_descent_digits", [override])
    message = str(caught.value)
    assert message.startswith(field)
    assert allowed in message
    assert "\n" not in message


def test_one_seed_is_enough_without_reproducibility():
    assert load_sweep("double_descent_digits", ["grid.seed=[0]", "scores=[fragmentation]"]).scores == ("fragmentation",)


def test_unknown_sweep_names_the_nearest():
    with pytest.raises(UserError, match="did you mean double_descent"):
        load_sweep("double_decsent")


def test_yaml_never_constructs_objects(tmp_path):
    path = tmp_path / "hostile.yaml"
    path.write_text("grid: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError, match="not readable as YAML"):
        load_sweep(str(path))


def test_the_same_training_twice_is_refused():
    streams = {f"{stream}_seed": [0] for stream in ("init", "order", "augmentation", "label_noise")}
    with pytest.raises(UserError, match=r"grid.seed: \[0, 1\] names the same training more than once"):
        small_sweep(grid={"width": [4], "seed": [0, 1], **streams})

import pytest
from conftest import small_sweep
from support.refusals import refused

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import DatasetFacts, facts_of_dataset
from dbviz_ray.planning.sizes import facts_of, longest_first, passes_of_a_step, training_flops

DIGITS = DatasetFacts((1, 8, 8), 10, 200, 100)


def only_model(architecture="fully_connected", width=16, options=None, **training):
    grid = {"architecture": [architecture], "width": [width], "seed": [0, 1], "options": options or {}}
    return small_sweep(grid=grid, training={"epochs": 3, "batch_size": 64} | training).models()[0]


def test_sizes_by_hand():
    facts = facts_of(only_model(), DIGITS)
    assert facts.parameters == 64 * 16 + 16 + 16 * 10 + 10
    assert facts.forward_flops == 2 * (64 * 16 + 16 * 10)
    assert facts_of(only_model("fully_connected_deep"), DIGITS).forward_calls > 1.5 * facts.forward_calls > 0


@pytest.mark.parametrize(
    ("architecture", "width", "options", "told"),
    [
        ("support.user_networks:one_probability", 4, {}, "sigmoid"),
        ("vit", 16, {"patch_size": 3}, "patch_size: 3"),
        ("vit", 16, {"patch": 2}, "options.patch: 2"),
    ],
)
def test_a_network_that_will_not_do_is_refused(architecture, width, options, told):
    mistake = refused(facts_of, only_model(architecture, width, options), DIGITS)
    assert (mistake.field, mistake.value) == ("grid.architecture", architecture)
    assert told in mistake.reason


DRAWING = ("dropouts", "functional_dropout", "returns_a_dictionary", "branches_on_a_value")


@pytest.mark.parametrize("name", [*(f"network_kinds:{kind}" for kind in DRAWING), "user_networks:needs_numbers"])
def test_networks_that_draw_or_need_numbers_are_counted_too(name):
    for model in (only_model(f"support.{name}", 5), only_model("vit", options={"patch_size": 2, "dropout": 0.1})):
        assert facts_of(model, DIGITS).forward_flops > 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "digits", "train_size": 1800}, "dataset.train_size"),
        ({"name": "cifar10", "train_size": 90_000}, "dataset.train_size"),
        ({"name": "json:nope"}, "json:nope"),
        ({"name": "json:dumps"}, "dataset.name"),
    ],
)
def test_data_that_cannot_be_loaded_is_refused(fields, field):
    assert refused(facts_of_dataset, DatasetConfig(**fields), "unused").field == field


@pytest.mark.parametrize(("training", "passes"), [({}, 3), ({"sam_radius": 0.1}, 6), ({"adversary": {"steps": 5}}, 18)])
def test_cost_of_a_step_and_of_a_training(training, passes):
    model = only_model(**training)
    assert passes_of_a_step(model) == passes
    forward = 2 * (64 * 16 + 16 * 10)
    assert training_flops([model] * 2, DIGITS) == 2 * forward * (3 * passes * 200 + 100)


def test_longest_first():
    sweep = small_sweep()
    cohorts = longest_first(sweep.cohorts(), facts_of_dataset(sweep.dataset, "unused"))
    assert [cohort.models[0].width for cohort in cohorts] == [16, 4]

from __future__ import annotations

import pytest
from conftest import small_sweep

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import DatasetFacts, facts_of_dataset
from dbviz_ray.errors import UserError
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
    ("architecture", "width", "options", "reason"),
    [
        ("support.user_networks:with_too_few_scores", 4, {}, r"\(2, 9\), not \(2, 10\)"),
        ("support.user_networks:one_probability", 4, {}, "sigmoid"),
        ("vit", 16, {"patch_size": 3}, "patch_size: 3"),
        ("vit", 30, {}, "heads: 8 .* 30"),
        ("vit", 16, {"patch": 2}, "patch: .*patch_size"),
        ("fully_connected_deep", 10, {}, "16"),
        ("wide_resnet28", 1, {"depth": 27}, "depth: 27"),
    ],
)
def test_a_network_that_will_not_do_is_refused(architecture, width, options, reason):
    with pytest.raises(UserError, match=reason) as caught:
        facts_of(only_model(architecture, width, options), DIGITS)
    mistake = caught.value.mistakes[0]
    assert (mistake.field, mistake.value) == ("grid.architecture", architecture)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "width", "options"),
    [
        ("support.network_kinds:dropouts", 5, {}),
        ("support.network_kinds:functional_dropout", 5, {}),
        ("support.network_kinds:returns_a_dictionary", 5, {}),
        ("support.network_kinds:branches_on_a_value", 5, {}),
        ("support.user_networks:needs_numbers", 5, {}),
        ("vit", 16, {"patch_size": 2, "dropout": 0.1}),
    ],
)
def test_networks_that_draw_or_need_numbers_are_counted_too(architecture, width, options):
    assert facts_of(only_model(architecture, width, options), DIGITS).forward_flops > 0


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
    with pytest.raises(UserError) as error:
        facts_of_dataset(DatasetConfig(**fields), "unused")
    assert error.value.mistakes[0].field == field


@pytest.mark.parametrize(
    ("training", "passes"), [({}, 3), ({"sam_radius": 0.1}, 6), ({"adversary": {"steps": 5}}, 3 * 6)]
)
def test_cost_of_a_step_and_of_a_training(training, passes):
    model = only_model(**training)
    assert passes_of_a_step(model) == passes
    forward = 2 * (64 * 16 + 16 * 10)
    assert training_flops([model] * 2, DIGITS) == 2 * forward * (3 * passes * 200 + 100)


def test_longest_first():
    sweep = small_sweep()
    cohorts = longest_first(sweep.cohorts(), facts_of_dataset(sweep.dataset, "unused"))
    assert [cohort.models[0].width for cohort in cohorts] == [16, 4]

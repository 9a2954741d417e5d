from __future__ import annotations

import pytest
from conftest import small_sweep

from dbviz_ray.config import DatasetConfig
from dbviz_ray.errors import UserError
from dbviz_ray.planning import dataset_facts, longest_first, network_facts, plan


def test_network_facts_by_hand():
    facts = network_facts("fully_connected", 16, (1, 8, 8), 10)
    assert facts.parameters == 64 * 16 + 16 + 16 * 10 + 10
    assert facts.forward_flops == 2 * (64 * 16 + 16 * 10)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [("user_networks:with_dropout", "dropout"), ("user_networks:with_too_few_scores", r"\(1, 9\), not \(1, 10\)")],
)
def test_a_network_that_will_not_do_is_refused(architecture, reason):
    with pytest.raises(UserError, match=reason):
        network_facts(architecture, 4, (1, 8, 8), 10)


def test_a_network_that_needs_numbers_to_be_built_is_counted_too():
    assert network_facts("user_networks:needs_numbers", 5, (1, 8, 8), 10).parameters == 64 * 5 + 5 + 5 * 10 + 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "digits", "train_size": 1800}, "digits has 1797 in all"),
        ({"name": "cifar10", "train_size": 90_000}, "cifar10 has 50000 train images"),
        ({"name": "json:nope"}, "the module json has no function nope"),
        ({"name": "json:dumps"}, r"json:dumps cannot be loaded: TypeError"),
    ],
)
def test_data_that_cannot_be_had_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        dataset_facts(DatasetConfig(**fields), "unused")


def test_plan_counts_what_the_sweep_holds():
    sweep = small_sweep(planes={"a": {"count": 3, "resolution": 4}, "b": {"count": 5, "resolution": 2}})
    counted = plan(sweep)
    assert (counted.models, counted.cohorts, counted.planes) == (12, 2, 8)
    assert counted.forward_passes == 12 * (3 * 16 + 5 * 4)
    assert counted.parameters == 6 * (64 * 4 + 4 + 40 + 10) + 6 * (64 * 16 + 16 + 160 + 10)


def test_longest_first():
    sweep = small_sweep()
    cohorts = longest_first(sweep.cohorts(), dataset_facts(sweep.dataset, "unused"))
    assert [cohort.models[0].width for cohort in cohorts] == [16, 4]

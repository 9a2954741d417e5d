from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from dbviz_ray.analysis.findings import Findings, Kind, find
from dbviz_ray.analysis.findings.curves import (
    EPOCH,
    WIDTH,
    has_peak,
    interpolation_threshold,
    representative_curves,
    representative_rows,
    shown_rows,
)
from dbviz_ray.analysis.findings.curves import (
    curves as curves_among,
)
from dbviz_ray.analysis.findings.rows import from_json, to_json
from dbviz_ray.analysis.findings.summary import summary_text
from dbviz_ray.analysis.tables.recipes import at_best_rate, best_rates, by_recipe, compares_recipes
from dbviz_ray.formatting import COLUMNS

MARGINS = ("margin", "margin_correct", "margin_mislabelled")
BETWEEN = pd.DataFrame(columns=["label_noise", "plane_set"])


def groups(test, train=None, reach=0.01, **columns):
    """Rows of the table `groups`, one for each test error; `columns` replace what they have in common."""
    table = pd.DataFrame({"test_error": test, "train_error": train or [0.0] * len(test)})
    common = {"architecture": "net", "options": "", "width": [2**n for n in range(1, len(test) + 1)],
              "label_noise": 0.2, "recipe": "default", "learning_rate": 0.01, "epoch": 100, "plane_set": "test",
              "n_models": 3, "n_diverged": 0, "n_failed": 0, "tested_on": "test", "reproducibility": 0.5,
              "fragmentation": 5.0, "n_planes": 6, "n_constant": 0, "sharpness": 0.04,
              **dict.fromkeys(MARGINS, float("nan"))}  # fmt: skip
    table = table.assign(**(common | columns))
    for score in ("test_error", "train_error", "reproducibility", "fragmentation", "sharpness", *MARGINS):
        table[f"{score}_low"], table[f"{score}_high"] = table[score] - reach, table[score] + reach
    return table


def curve(test, train=None, reach=0.01, axis=WIDTH, **columns):
    (one,) = curves_among(groups(test, train, reach, **columns), axis)
    return one


def found_in(table, between=BETWEEN, **tables):
    """The findings of a table `groups`, once through JSON."""
    found = find(tables_with(table, between, **tables))
    rows = json.loads(json.dumps([to_json(finding) for finding in found.rows], allow_nan=False))
    return Findings(tuple(map(from_json, rows)))


def tables_with(table, between=BETWEEN, **tables):
    recipes = {"by_recipe": by_recipe(table)} if compares_recipes(table) else {}
    empty = {"differences": pd.DataFrame(), "resolution": pd.DataFrame()}
    return {"groups": table, "between_groups": between} | recipes | empty | tables


def summary_of(table, **tables):
    return summary_text(found_in(table, **tables), tables_with(table, **tables))


def roles(finding):
    return [number.role for number in finding.of("test_error")]


DESCENT = [0.7, 0.2, 0.3, 0.1]
OVER_EPOCHS = {"width": 8, "epoch": [1, 10, 100, 1000]}


def test_representative_rows_of_a_double_descent():
    assert representative_rows(curve(DESCENT)) == {"narrowest": 0, "best narrow": 1, "peak": 2, "widest": 3}
    assert has_peak(curve(DESCENT))


def test_representative_rows_over_epochs():
    over = curve(DESCENT, axis=EPOCH, **OVER_EPOCHS)
    assert shown_rows(over) == {"first": 0, "best early": 1, "peak": 2, "last": 3}
    assert shown_rows(curve([0.7, 0.2, 0.3, 0.4], axis=EPOCH, **OVER_EPOCHS)) == {
        "first": 0, "lowest error": 1, "last": 3,
    }  # fmt: skip


def test_a_falling_curve_has_no_peak():
    assert representative_rows(curve([0.7, 0.5, 0.2, 0.1])) == {"narrowest": 0, "widest": 3}
    assert not has_peak(curve([0.7, 0.5, 0.2, 0.1]))


def test_a_peak_within_the_intervals_is_none():
    assert not has_peak(curve([0.7, 0.20, 0.21, 0.1], reach=0.02))


def test_a_bump_on_the_way_down_is_not_the_peak_if_a_higher_one_follows():
    assert representative_rows(curve([0.7, 0.5, 0.51, 0.2, 0.4, 0.1]))["peak"] == 4


def test_a_peak_after_the_narrowest_width_needs_no_narrowest_row():
    assert representative_rows(curve([0.2, 0.3, 0.1])) == {"best narrow": 0, "peak": 1, "widest": 2}


@pytest.mark.parametrize(
    ("train", "threshold"),
    [([0.5, 0.2, 0.1, 0.0], 8), ([0.5, 0.4, 0.3, 0.2], None), ([0.0] * 4, 2), ([0.5, 0.05, 0.3, 0.0], 16)],
)
def test_interpolation_threshold(train, threshold):
    assert interpolation_threshold(curve(DESCENT, train)) == threshold


def test_a_peak_within_the_intervals_is_not_shown_as_one():
    assert list(shown_rows(curve([0.7, 0.20, 0.21, 0.1], reach=0.02))) == ["narrowest", "middle", "widest"]


def test_two_widths_are_no_curve_and_two_epochs_are_one():
    assert curves_among(groups([0.2, 0.1]), WIDTH) == []
    assert len(curve([0.2, 0.1], axis=EPOCH, width=4, epoch=[1, 2]).rows) == 2


def test_curves_take_the_last_epoch_and_leave_out_what_diverged():
    early = groups([0.9] * 4, epoch=10)
    table = pd.concat([early, groups([*DESCENT[:3], float("nan")], n_models=[3, 3, 2, 0])])
    (one,) = curves_among(table, WIDTH)
    assert one.rows["test_error"].tolist() == DESCENT[:3]


def test_widths_of_few_groups_among_many_are_no_curve():
    others = [groups([0.3], architecture=f"other{index}", width=64) for index in range(5)]
    assert curves_among(pd.concat([groups([0.3, 0.2, 0.1]), *others[:3]]), WIDTH)
    assert not curves_among(pd.concat([groups([0.3, 0.2, 0.1]), *others]), WIDTH)


def test_representative_curves_are_the_noisiest_evenly_spaced():
    table = pd.concat([groups([0.3] * 3, recipe=f"r{n}", label_noise=z) for n in range(5) for z in (0.0, 0.2)])
    found = curves_among(table, WIDTH)
    assert len(representative_curves(found, 10)) == 10
    assert [one.name for one in representative_curves(found, 3)] == ["net, r0", "net, r2", "net, r4"]
    assert {one.key["label_noise"] for one in representative_curves(found, 3)} == {0.2}


def test_findings_in_words_and_rows():
    table = pd.concat([groups(DESCENT, [0.5, 0.2, 0.1, 0.0]), groups([0.4, 0.3, 0.2, 0.1], label_noise=0.0)])
    found = found_in(table)
    assert len(found.sentences) == 2
    assert found.sentences[0] == (
        "net, label noise 0.2, test planes: double descent: the test error falls to 20.0% [19.0, 21.0] at width 4, "
        "peaks at 30.0% [29.0, 31.0] at width 8 and falls to 10.0% [9.0, 11.0] at width 16. At the peak two trainings "
        "agree on 50% [49, 51] of the points; at width 16 they agree on 50% [49, 51]. A plane has 5.0 [5.0, 5.0] "
        "regions at the peak and 5.0 [5.0, 5.0] at width 16. The training labels are memorised from width 8 on "
        "(interpolation threshold: training error at most 10%)."
    )
    assert "no double descent" in found.sentences[1]
    assert list(found.answers) == ["Is a wider network better, and more reproducible?"]
    assert list(map(roles, found.rows)) == [
        ["narrowest", "best narrow", "peak", "widest"], ["narrowest", "middle", "widest"],
    ]  # fmt: skip
    assert [finding.number("", "interpolation_threshold").value for finding in found.rows] == [8, 2]
    peak = found.rows[0].number("peak", "test_error")
    assert (peak.subject.keys["width"], peak.value, peak.low, peak.high, peak.n) == (8, 0.3, 0.29, 0.31, 3)
    text = summary_of(table)
    assert text.splitlines()[1].split() == ["width", "noise", "train", "error", "test", "error", "reproducibility",
                                            "regions"]  # fmt: skip
    assert "0.300 [0.290, 0.310]" in text


def test_epoch_curves_are_shown_where_they_peak_and_counted():
    parts = [groups(DESCENT, width=4, epoch=[1, 10, 100, 1000])]
    parts += [groups([0.4, 0.3, 0.2, 0.1], width=w, epoch=[1, 10, 100, 1000]) for w in (8, 16, 32, 64, 128)]
    found = found_in(pd.concat(parts))
    assert [str(one.subject) for one in found.of(Kind.OVER_EPOCHS)] == ["net, width 4"]
    assert (
        "double descent over the epochs: the test error falls to 20.0% [19.0, 21.0] at epoch 10" in (found.sentences[1])
    )
    assert "1 of 6 curves over the epochs show double descent beyond the intervals." in found.sentences


def test_unknown_reproducibility_is_a_dash():
    nothing = float("nan")
    table = groups(DESCENT).assign(reproducibility=nothing, reproducibility_low=nothing, reproducibility_high=nothing)
    found = found_in(table)
    assert math.isnan(found.rows[0].number("peak", "reproducibility").value)
    assert " - " in summary_of(table)
    assert "trainings agree" not in found.sentences[0]


def test_architectures_are_told_apart_and_other_planes_have_a_table():
    kinds = [groups(DESCENT, plane_set=planes, architecture=net, fragmentation=regions)
             for planes, regions in (("test", 5.0), ("train", 3.0)) for net in ("net", "other")]  # fmt: skip
    table = pd.concat(kinds)
    found = found_in(table)
    assert [sentence.split(":")[0] for sentence in found.sentences[:2]] == [
        "net, label noise 0.2, test planes", "other, label noise 0.2, test planes",
    ]  # fmt: skip
    lines = summary_of(table).splitlines()
    assert lines[2].startswith("net, narrowest")
    assert lines[6].startswith("other, narrowest")
    assert lines[12] == "train".rjust(len(lines[13]))
    assert lines[13].endswith("3.00 [2.99, 3.01]")


def test_a_peak_that_is_less_reproducible_is_said_to_be():
    table = groups(DESCENT, reproducibility=[0.2, 0.6, 0.5, 0.8])
    (said,) = found_in(table).sentences
    assert "less alike: they agree on 50% [49, 51] of the points; at width 16 they agree on 80%" in said


def test_groups_on_no_curve_are_listed():
    text = summary_of(groups([0.3, 0.2], n_diverged=[0, 1]))
    assert [line[:12] for line in text.splitlines()[2:4]] == ["net, width 2", "net, width 4"]
    assert "1 of 7 trainings diverged and are left out: net, width 4, label noise 0.2 (1 of 4)." in text


def test_what_failed_is_told_apart_from_what_diverged():
    found = found_in(groups([0.3, 0.2], n_diverged=[0, 1], n_failed=[2, 0]))
    assert found.sentences[-2:] == [
        "1 of 9 trainings diverged and are left out: net, width 4, label noise 0.2 (1 of 4).",
        "2 of 9 trainings failed and are left out (table outcomes says why): net, width 2, label noise 0.2 (2 of 5).",
    ]


def recipes():
    """Two networks and two recipes; one of the four groups diverged."""
    parts = [groups([0.1], recipe="Adam", width=64, reproducibility=0.8),
             groups([0.2], recipe="SGD+SAM", width=64, reproducibility=0.9),
             groups([0.3], recipe="Adam", architecture="vit", options="patch_size=2", width=32, reproducibility=0.6),
             groups([float("nan")], recipe="SGD+SAM", architecture="vit", options="patch_size=2", width=32,
                    reproducibility=float("nan"), n_models=0, n_diverged=3)]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_table_1():
    table = by_recipe(recipes())
    assert list(zip(table["architecture"], table["recipe"], strict=True)) == [
        ("net", "Adam"), ("net", "SGD+SAM"), ("vit", "Adam"), ("vit", "SGD+SAM"),
    ]  # fmt: skip
    scores = table[["reproducibility", "reproducibility_low", "accuracy", "accuracy_low", "accuracy_high"]]
    assert scores.iloc[0].tolist() == pytest.approx([0.8, 0.79, 0.9, 0.89, 0.91])
    assert scores.iloc[3].isna().all()
    assert table[["n_models", "n_diverged", "n_failed"]].iloc[3].tolist() == [0, 3, 0]


def test_table_1_in_text_and_the_extremes():
    between = pd.DataFrame({"plane_set": "test", "label_noise": 0.2, "reproducibility": [0.7, 0.5],
                            "reproducibility_low": [0.6, 0.4], "reproducibility_high": [0.8, 0.6]})  # fmt: skip
    for column in ("architecture", "options", "width", "recipe", "learning_rate"):
        first = recipes()[column]
        between[f"{column}_a"], between[f"{column}_b"] = [first[0], first[0]], [first[1], first[2]]
    found = found_in(recipes(), between)
    lines = summary_of(recipes(), between=between).splitlines()
    assert lines[1].split() == ["reproducibility", "accuracy"]
    assert lines[2].split() == ["net,", "Adam", "80.0", "[79.0,", "81.0]", "90.0", "[89.0,", "91.0]"]
    assert lines[5].split() == ["vit,", "SGD+SAM", "diverged"]
    assert "most for net, SGD+SAM (90.0% [89.0, 91.0] of the points) and least for vit, Adam" in found.sentences[0]
    assert "net, Adam and net, SGD+SAM agree most (70.0% [60.0, 80.0])" in found.sentences[1]
    assert "net, Adam and vit, Adam least (50.0% [40.0, 60.0])" in found.sentences[1]
    assert "3 of 12 trainings diverged" in found.sentences[-1]


def test_architectures_with_one_recipe_each_need_one_column():
    table = pd.concat([groups([0.1], width=4, recipe="a"), groups([0.2], width=4, recipe="b", architecture="vit")])
    lines = summary_of(table).splitlines()
    assert lines[2].startswith("net ")
    assert lines[2].endswith("90.0 [89.0, 91.0]")


def rates(test, **columns):
    settings = {"width": 8, "learning_rate": [10.0**n for n in range(-len(test), 0)], "tested_on": "held-out"}
    return groups(test, **(settings | columns))


def test_the_best_learning_rate_and_what_cannot_be_told_from_it():
    (rate,) = best_rates(rates([0.5, 0.215, 0.2, 0.4]))
    assert (rate.best["learning_rate"], [row["learning_rate"] for row in rate.alike]) == (0.01, [0.001])
    assert (rate.best["test_error"], rate.at_end) == (0.2, "")


@pytest.mark.parametrize(("test", "end"), [([0.1, 0.2, 0.3], "smallest"), ([0.3, 0.2, 0.1], "largest")])
def test_a_best_rate_at_an_end_asks_for_a_wider_grid(test, end):
    found = found_in(rates(test))
    assert found.of(Kind.BEST_RATE)[0].condition["at_end"] == end
    assert (
        f"extend the grid: net, label noise 0.2 ({0.001 if end == 'smallest' else 0.1:g}, the {end})."
        in found.sentences[-1]
    )
    text = summary_of(rates(test))
    assert "held-out error" in text
    assert "test error" not in text


def test_a_larger_rate_that_diverged_bounds_the_grid():
    table = rates([0.3, 0.1, float("nan")], n_models=[3, 3, 0], n_diverged=[0, 0, 3])
    (rate,) = best_rates(table)
    assert (rate.best["learning_rate"], rate.at_end) == (0.01, "")
    assert at_best_rate(table)["learning_rate"].tolist() == [0.01]


def test_a_larger_rate_that_failed_does_not_bound_the_grid():
    table = rates([0.3, 0.1, float("nan")], n_models=[3, 3, 0], n_failed=[0, 0, 3])
    (rate,) = best_rates(table)
    assert (rate.best["learning_rate"], rate.at_end) == (0.01, "largest")
    assert best_rates(table.assign(n_models=[0, 3, 0], n_failed=[3, 0, 3])) == []


def test_of_equally_good_rates_the_smallest_is_best():
    table = rates([0.3, 0.1, 0.1, 0.3]).iloc[::-1]
    assert best_rates(table)[0].best["learning_rate"] == 0.001
    assert at_best_rate(table)["learning_rate"].tolist() == [0.001]


@pytest.mark.parametrize(
    ("student", "verdict"),
    [(0.9, "resemble their teachers more"), (0.3, "resemble their teachers less"), (0.61, "no difference beyond")],
)
def test_students_and_teachers_in_words(student, verdict):
    table = recipes()
    row = {"label_noise": 0.2, "plane_set": "test", "same_start": False}
    for role, index in (("student", 1), ("teacher", 2), ("control", 0)):
        for column in ("architecture", "options", "width", "recipe", "learning_rate"):
            row[f"{role}_{column}"] = table[column][index]
    for kind, value in (("student", student), ("control", 0.6)):
        row |= {f"{kind}_agreement": value, f"{kind}_agreement_low": value - 0.02}
        row[f"{kind}_agreement_high"] = value + 0.02
    sentence = found_in(table, distillation=pd.DataFrame([row])).sentences[1]
    assert f"students (net, SGD+SAM) agree with their own teachers (vit, Adam) on {100 * student:.1f}% [" in sentence
    assert "undistilled models (net, Adam) agree with these teachers on 60.0% [58.0, 62.0]" in sentence
    assert verdict in sentence


def test_the_summary_fits_a_terminal():
    long = groups(DESCENT, options="heads=4 layers=2 patch_size=2", recipe="a_recipe_with_a_long_name")
    other = groups(DESCENT, architecture="my_package.my_module:my_network_of_a_long_name", recipe="another_long_name")
    for table in (pd.concat([long, other]), recipes(), rates([0.1, 0.2, 0.3]), groups([0.2, 0.1])):
        assert max(map(len, summary_of(table).splitlines())) <= COLUMNS


def test_the_sharpness_of_each_recipe_is_told():
    table = groups([0.1, 0.1], width=4, recipe=["SGD", "SGD+SAM"], sharpness=[0.5, 0.02])
    assert found_in(table).answers.keys() == {
        "Is it the same model if it is trained again?", "How flat are the minima?",
    }  # fmt: skip
    assert found_in(table).sentences[1] == (
        "net, label noise 0.2: sharpness (the smaller, the more slowly the loss rises around the trained weights): "
        "SGD 0.5000 [0.4900, 0.5100], SGD+SAM 0.0200 [0.0100, 0.0300]."
    )

"""Findings as rows, some of their sentences, texts for a terminal, and curves with their representative points."""

import re
import string

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from support.group_tables import DESCENT, between_groups, curve, found_in, groups, rates, recipes, summary_of
from support.made_up_runs import made_up_run
from support.table_rows import KEY, NAN, of_grid, of_margins, of_stream

from dbviz_ray.analysis.findings import Kind
from dbviz_ray.analysis.findings.curves import EPOCH, WIDTH, curves, representative_curves
from dbviz_ray.analysis.findings.find import margins, resolution, streams
from dbviz_ray.analysis.findings.sentences import sentence
from dbviz_ray.analysis.findings.summary import ADVISED, advice_table, advice_text, outcomes_text
from dbviz_ray.analysis.tables import compute_tables
from dbviz_ray.analysis.tables.groups import CURVE
from dbviz_ray.formatting import COLUMNS, NO_BREAK, paragraph, unbroken
from dbviz_ray.sweep import main


def intervals_in(text):
    """Every value of a sentence with its interval."""
    return re.findall(r"[\d.]+%? \[[\d., ]+\]", text)


def test_findings_in_words_and_rows():
    table = pd.concat([groups(DESCENT, [0.5, 0.2, 0.1, 0.0]), groups([0.4, 0.3, 0.2, 0.1], label_noise=0.0)])
    found = found_in(table)
    first = found.sentences[0]
    assert intervals_in(first) == ["20.0% [19.0, 21.0]", "30.0% [29.0, 31.0]", "10.0% [9.0, 11.0]",
                                   *["50% [49, 51]"] * 2, *["5.0 [5.0, 5.0]"] * 2]  # fmt: skip
    assert re.findall(r"width (\d+)", first) == ["4", "8", "16", "16", "16", "8", "16"]
    roles = [[number.role for number in finding.of("test_error")] for finding in found.rows]
    assert roles == [["narrowest", "best narrow", "peak", "widest"], ["narrowest", "middle", "widest"]]
    for score, widths in (("small_train_error", [8, 2]), ("interpolation_threshold", [16, 2])):
        assert [finding.number("", score).value for finding in found.rows] == widths
    peak = found.rows[0].number("peak", "test_error")
    assert (peak.subject.keys["width"], peak.value, peak.low, peak.high, peak.n) == (8, 0.3, 0.29, 0.31, 3)
    text = summary_of(table)
    assert " ".join(text.splitlines()[1].split()) == "width noise train error test error reproducibility regions"
    assert "0.300 [0.290, 0.310]" in text


def test_architectures_have_names_and_other_planes_a_table():
    table = pd.concat(
        groups(DESCENT, plane_set=planes, architecture=net, fragmentation=regions)
        for planes, regions in (("test", 5.0), ("train", 3.0))
        for net in ("net", "other")
    )
    assert [str(finding.subject) for finding in found_in(table).rows[:2]] == ["net", "other"]
    lines = summary_of(table).splitlines()
    assert lines[3].startswith("net, narrowest")
    assert lines[11].startswith("other, narrowest")
    assert lines[21] == "train".rjust(len(lines[22]))
    assert lines[22].endswith("3.00 [2.99, 3.01]")


def test_table_1_in_text_and_the_extremes():
    table = recipes()
    sentences = found_in(table, between_groups(table, 2)).sentences
    lines = summary_of(table).splitlines()
    assert lines[1].split() == ["reproducibility", "accuracy"]
    assert lines[2].split() == ["net,", "Adam", "80.0", "[79.0,", "81.0]", "90.0", "[89.0,", "91.0]"]
    assert lines[5].split() == ["ViT,", "SGD+SAM", "diverged"]
    assert "most for net, SGD+SAM (90.0% [89.0, 91.0] of the points) and least for ViT, Adam" in sentences[0]
    assert "net, Adam and net, SGD+SAM agree most (70.0% [60.0, 80.0])" in sentences[1]
    assert "net, Adam and ViT, Adam least (50.0% [40.0, 60.0])" in sentences[1]


def test_margins_over_a_curve():
    rows = of_margins(4, 1.0, 1.2, 0.5), of_margins(8, 2.0, 2.2, 1.5), of_margins(16, 3.0, 3.2, 2.5)
    (finding,) = margins(curves(pd.DataFrame(rows), WIDTH))
    assert intervals_in(sentence(finding))[2:5] == ["3.20 [3.10, 3.30]", "0.50 [0.40, 0.60]", "1.50 [1.40, 1.60]"]


def test_streams_of_the_first_planes_at_the_last_epoch():
    rows = [
        of_stream(("init",), 0.9), of_stream(("order", "augmentation"), 0.7), of_stream(("label_noise",), NAN),
        of_stream(("init",), 0.1, plane_set="train"), of_stream(("init",), 0.2, epoch=1),
        of_stream(("init",), 0.5, disagreement=0.2, own=0.3, width=8),
    ]  # fmt: skip
    first, second = streams(pd.DataFrame(rows))
    of_first = {number.subject.keys["stream"]: number.value for number in first.of("total_share")}
    assert of_first == {("init",): 0.9, ("order", "augmentation"): 0.7}
    assert second.number("all", "disagreement").value == 0.2
    assert intervals_in(sentence(first))[-2:] == ["90.0% [80.0, 100.0]", "70.0% [60.0, 80.0]"]


def test_resolutions_of_the_group_with_most_regions():
    few = [of_grid("grid", 25, 3.0, 2.0), of_grid("grid", 49, 3.5, 2.1), of_grid("extrapolated", None, NAN, 2.2)]
    most = [{**row, "width": 8, "large_regions": row["large_regions"] + 3} for row in few]
    earlier = [{**row, "epoch": 1, "large_regions": 99} for row in few]
    table = pd.DataFrame([*few, *most, *earlier]).astype({"resolution": float})
    named = pd.DataFrame([KEY, KEY | {"width": 8}, KEY | {"epoch": 1}])
    (finding,) = resolution(table, named)
    assert str(finding.subject) == "net, width 8"
    grids = [(n.subject.keys["resolution"], n.value) for n in finding.of("large_regions", "grid")]
    assert grids == [(25, 5.0), (49, pytest.approx(5.1))]


def test_models_that_predict_one_class():
    counts = [width % 3 for width in range(1, 13)]
    (finding,) = found_in(groups([0.5] * 12, n_constant=counts)).of(Kind.CONSTANT)
    assert sentence(finding).endswith("label noise 0.2 (2 of 3); and 2 more.")


def test_groups_on_no_curve_are_listed():
    text = summary_of(groups([0.3, 0.2], n_diverged=[0, 1]))
    assert [line[:12] for line in text.splitlines()[2:4]] == ["net, width 2", "net, width 4"]
    assert "held-out error" in summary_of(rates([0.3, 0.2]))


def test_the_summary_fits_a_terminal():
    long = groups(DESCENT, options="heads=4 layers=2 patch_size=2", recipe="a_recipe_with_a_long_name")
    other = groups(DESCENT, architecture="my_package.my_module:my_network_of_a_long_name", recipe="another_long_name")
    for table in (pd.concat([long, other]), recipes(), rates([0.1, 0.2, 0.3]), groups([0.2, 0.1])):
        assert max(map(len, summary_of(table).splitlines())) <= COLUMNS


def outcomes(*ends, reason="RuntimeError: broken"):
    """A table `outcomes` of models named a, b, ..., each lost for the same reason where it was not done."""
    table = pd.DataFrame({"model_id": list(string.ascii_lowercase[: len(ends)]), "outcome": ends})
    lost = table["outcome"] != "done"
    return table.assign(stage=np.where(lost, "train", ""), reason=np.where(lost, reason, ""))


def test_failures_have_a_stage_and_a_reason():
    assert outcomes_text(outcomes("done", "failed", "diverged", "bad configuration", "done")).splitlines() == [
        "5 models: 2 done, 1 diverged, 1 failed, 1 bad configuration",
        "  b: train, failed: RuntimeError: broken",
        "  d: train, bad configuration: RuntimeError: broken",
    ]
    assert outcomes_text(outcomes("diverged", "done")) == "2 models: 1 done, 1 diverged"


def test_lines_end_within_no_interval():
    told = "the error of width 8 [of 12] falls to 51.2% [47.9, 54.4]"
    joined = "the error of width 8_[of_12] falls to 51.2%_[47.9,_54.4]"
    assert unbroken(told) == joined.replace("_", NO_BREAK)
    lines = paragraph("; ".join([told] * 9)).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert all(line.count("[") == line.count("]") for line in lines)


def row(score, value, items, models, width=4, **others):
    """A row of the table `uncertainty`; `items` and `models` are variances, with 99 and 3 degrees of freedom."""
    reach = 2 * (items + models) ** 0.5
    return KEY | {
        "width": width, "score": score, "value": value, "low": value - reach, "high": value + reach,
        "n_models": 4, "n_items": 100,
        "interval_covers": "models and items", "items_variance": items, "items_freedom": 99.0,
        "models_variances": [models], "models_freedoms": [3.0], "shared_variance": 0.0, "shared_freedom": 0.0,
    } | others  # fmt: skip


ROWS = [
    row("test_error", 0.3, 1e-8, 1e-4),
    row("test_error", 0.2, 1e-8, 1e-8, width=8),
    row("reproducibility", 0.8, 1e-3, 0.0),
    row("fragmentation", 5.0, 1e-8, 0.01),
    row("sharpness", 5.0, 1e-8, 0.01),
]


def test_every_group_and_score_has_its_advice():
    """But for other epochs, other planes, and scores that are unknown or zero."""
    table = advice_table(pd.DataFrame(ROWS), 0.01)
    assert list(table["name"]) == ["net, width 4", "net, width 8", "net, width 4", "net, width 4"]
    assert list(table["score"]) == ["test_error", "test_error", "reproducibility", "fragmentation"]
    assert [advice.wanted for advice in table["advice"]] == [0.01, 0.01, 0.01, 0.05]
    assert set(table["score"]) <= set(ADVISED)
    others = [row("test_error", 0.9, 1e-8, 1e-4, epoch=1), row("test_error", 0.9, 1e-8, 1e-4, plane_set="train")]
    others += [row("kappa", float("nan"), 0.0, 0.0), row("margin", 0.0, 1e-3, 1e-3)]
    assert advice_text(pd.DataFrame(ROWS + others), 0.01) == advice_text(pd.DataFrame(ROWS), 0.01)


@pytest.mark.parametrize("text", ["0", "1", "-0.1", "2", "nan", "inf", "much"])
def test_the_option_wants_a_share(text, capsys):
    assert main(["double_descent_digits", f"--precision={text}", "--plan"]) == 2
    assert f"--precision: {text!r}" in capsys.readouterr().err


OVER_EPOCHS = {"width": 8, "epoch": [1, 10, 100, 1000]}


def test_peaks_of_other_curves_do_not_count():
    others = [{"recipe": "other"}, {"label_noise": 0.0}, {"plane_set": "train"}, {"score": "fragmentation"}]
    others.append({"learning_rate": 0.5})
    row = {name: KEY[name] for name in ("plane_set", *CURVE)} | {"score": "test_error", "p_value": 0.001}
    table = pd.DataFrame([row | {"p_value": 0.06}, *(row | other for other in others)])
    (one,) = curves(groups(DESCENT, reach=0.01), WIDTH, table)
    assert (one.peak_p_value, one.has_peak) == (0.06, False)


def test_tables_of_a_run_with_a_clear_peak(tmp_path):
    """Of 43 widths, too many to compare in pairs."""
    error = {width: 0.1 + (19 < width < 22) / 2 for width in range(2, 45)}
    sweep = small_sweep(grid={"width": list(error), "seed": [0, 1]})
    tables = compute_tables(made_up_run(tmp_path, sweep, error=lambda m, _: error[m.width]), sweep)
    found = tables["peaks"]
    (one,) = curves(tables["groups"], WIDTH, found)
    assert one.has_peak
    assert (one.peak_p_value < 0.05, found["n_widths"].max(), found["n_models"].max()) == (True, 43, 86)
    of_scores = found.set_index("score")
    assert of_scores.loc["test_error", ["width_low", "width_high"]].tolist() == [20, 21]
    assert of_scores.loc["reproducibility", "p_value"] < 0.05
    assert of_scores.loc["reproducibility", "interval_covers"] == "models and planes"


def test_representative_rows_over_epochs():
    over = curve(DESCENT, axis=EPOCH, **OVER_EPOCHS)
    assert over.has_peak
    assert not over.peaks, "without a test"
    assert over.shown_rows == {"first": 0, "best early": 1, "peak": 2, "last": 3}
    rising = curve([0.7, 0.2, 0.3, 0.4], axis=EPOCH, **OVER_EPOCHS)
    assert rising.shown_rows == {"first": 0, "lowest error": 1, "last": 3}
    assert len(curve([0.2, 0.1], axis=EPOCH, width=4, epoch=[1, 2]).rows) == 2


@pytest.mark.parametrize(
    ("errors", "rows"),
    [
        ([0.7, 0.5, 0.2, 0.1], {"narrowest": 0, "widest": 3}),
        ([0.7, 0.5, 0.51, 0.2, 0.4, 0.1], {"narrowest": 0, "best narrow": 3, "peak": 4, "widest": 5}),
        ([0.2, 0.3, 0.1], {"best narrow": 0, "peak": 1, "widest": 2}),
    ],
)
def test_representative_rows_over_width(errors, rows):
    found = curve(errors)
    assert found.representative_rows == rows
    assert found.has_peak == ("peak" in rows)


def test_curves_use_the_last_epoch_leave_out_diverged_groups_and_need_half_of_the_groups():
    early = groups([0.9] * 4, epoch=10)
    table = pd.concat([early, groups([*DESCENT[:3], float("nan")], n_models=[3, 3, 2, 0])])
    (one,) = curves(table, WIDTH)
    assert one.rows["test_error"].tolist() == DESCENT[:3]
    others = [groups([0.3], architecture=f"other{index}", width=64) for index in range(5)]
    assert curves(pd.concat([groups([0.3, 0.2, 0.1]), *others[:3]]), WIDTH)
    assert not curves(pd.concat([groups([0.3, 0.2, 0.1]), *others]), WIDTH)


def test_representative_curves_are_the_noisiest_evenly_spaced():
    table = pd.concat([groups([0.3] * 3, recipe=f"r{n}", label_noise=z) for n in range(5) for z in (0.0, 0.2)])
    found = curves(table, WIDTH)
    assert [one.name for one in representative_curves(found, 3)] == ["net, r0", "net, r2", "net, r4"]
    assert {one.key["label_noise"] for one in representative_curves(found, 3)} == {0.2}

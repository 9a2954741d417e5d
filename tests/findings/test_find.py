"""Findings as rows, and some of their sentences."""

import math
import re

import pandas as pd
import pytest
from support.group_tables import DESCENT, KEY, found_in, groups, rates, recipes, summary_of

from dbviz_ray.analysis.findings import Kind
from dbviz_ray.analysis.findings.curves import WIDTH, curves
from dbviz_ray.analysis.findings.find import margins, resolution, streams
from dbviz_ray.analysis.findings.sentences import sentence

NOTHING = float("nan")
PARTS = ("architecture", "options", "width", "recipe", "learning_rate")
"""Of what a group is, beside its label noise."""


def with_ends(score, value, reach=0.1):
    return {score: value, f"{score}_low": value - reach, f"{score}_high": value + reach}


def intervals_in(text):
    """Every value of a sentence with its interval."""
    return re.findall(r"[\d.]+%? \[[\d., ]+\]", text)


def test_findings_in_words_and_rows():
    table = pd.concat([groups(DESCENT, [0.5, 0.2, 0.1, 0.0]), groups([0.4, 0.3, 0.2, 0.1], label_noise=0.0)])
    found = found_in(table)
    first, second = found.sentences
    assert intervals_in(first) == ["20.0% [19.0, 21.0]", "30.0% [29.0, 31.0]", "10.0% [9.0, 11.0]",
                                   *["50% [49, 51]"] * 2, *["5.0 [5.0, 5.0]"] * 2]  # fmt: skip
    assert re.findall(r"width (\d+)", first) == ["4", "8", "16", "16", "16", "8", "16"]
    assert [" no double descent" in told for told in (first, second)] == [False, True]
    assert list(found.answers) == ["Is a wider network better, and more reproducible?"]
    roles = [[number.role for number in finding.of("test_error")] for finding in found.rows]
    assert roles == [["narrowest", "best narrow", "peak", "widest"], ["narrowest", "middle", "widest"]]
    for score, widths in (("small_train_error", [8, 2]), ("interpolation_threshold", [16, 2])):
        assert [finding.number("", score).value for finding in found.rows] == widths
    peak = found.rows[0].number("peak", "test_error")
    assert (peak.subject.keys["width"], peak.value, peak.low, peak.high, peak.n) == (8, 0.3, 0.29, 0.31, 3)
    text = summary_of(table)
    assert " ".join(text.splitlines()[1].split()) == "width noise train error test error reproducibility regions"
    assert "0.300 [0.290, 0.310]" in text


def test_curves_over_epochs_with_a_peak_are_shown_and_all_are_counted():
    parts = [groups(DESCENT, width=4, epoch=[1, 10, 100, 1000])]
    parts += [groups([0.4, 0.3, 0.2, 0.1], width=w, epoch=[1, 10, 100, 1000]) for w in (8, 16, 32, 64, 128)]
    found = found_in(pd.concat(parts))
    assert [str(one.subject) for one in found.of(Kind.OVER_EPOCHS)] == ["net, width 4"]
    assert intervals_in(found.sentences[1])[0] == "20.0% [19.0, 21.0]"
    assert any(told.startswith("1 of 6 curves") for told in found.sentences)


def test_unknown_reproducibility_is_a_dash():
    table = groups(DESCENT, reproducibility=NOTHING)
    found = found_in(table)
    assert math.isnan(found.rows[0].number("peak", "reproducibility").value)
    assert " - " in summary_of(table)
    assert "trainings agree" not in found.sentences[0]


def test_architectures_have_names_and_other_planes_a_table():
    table = pd.concat(
        groups(DESCENT, plane_set=planes, architecture=net, fragmentation=regions)
        for planes, regions in (("test", 5.0), ("train", 3.0))
        for net in ("net", "other")
    )
    assert [str(finding.subject) for finding in found_in(table).rows[:2]] == ["net", "other"]
    lines = summary_of(table).splitlines()
    assert lines[2].startswith("net, narrowest")
    assert lines[6].startswith("other, narrowest")
    assert lines[12] == "train".rjust(len(lines[13]))
    assert lines[13].endswith("3.00 [2.99, 3.01]")


def test_the_sentence_says_that_the_peak_is_less_reproducible():
    (said,) = found_in(groups(DESCENT, reproducibility=[0.2, 0.6, 0.5, 0.8])).sentences
    assert "less alike" in said
    assert intervals_in(said)[3:5] == ["50% [49, 51]", "80% [79, 81]"]


PEAK = {"plane_set": "test", "architecture": "net", "options": "", "recipe": "default", "learning_rate": 0.01,
        "label_noise": 0.2, "width": 8, "n_models": 12, "interval_covers": "models and planes"}  # fmt: skip


@pytest.mark.parametrize(
    ("dip", "words"),
    [
        (
            {"width_low": 4, "width_high": 8, "p_value": 0.01},
            "dip of the agreement lies at width 8 [4, 8] (p = 0.010), perhaps",
        ),
        ({"width_low": 2, "width_high": 4, "p_value": 0.0001}, "[2, 4] (p < 0.001), not at the peak"),
        ({"width_low": 2, "width_high": 4, "p_value": 0.2}, "The dip of the agreement may be chance (p = 0.200)"),
    ],
)
def test_the_places_of_peak_and_dip_in_words(dip, words):
    error = PEAK | {"score": "test_error", "width_low": 8, "width_high": 16, "p_value": 0.002}
    table = pd.DataFrame([error, PEAK | {"score": "reproducibility"} | dip])
    (said,) = found_in(groups(DESCENT), peaks=table).sentences
    assert "double descent (p = 0.002)" in said
    assert "The peak lies at width 8 [8, 16]." in said
    assert words in said


def test_of_two_trainings_nothing_is_said_about_others():
    covers = {"reproducibility": [0.2, 0.6, 0.5, 0.8], "reproducibility_interval_covers": "planes", "n_models": 2}
    unknown = {"score": "reproducibility", "width_low": NOTHING, "width_high": NOTHING, "p_value": NOTHING}
    table = pd.DataFrame([PEAK | unknown | {"interval_covers": "planes"}])
    (said,) = found_in(groups(DESCENT, **covers), peaks=table).sentences
    assert "these trainings agree on 50% [49, 51]" in said
    assert "more seeds" in said
    assert not re.search("less alike|dip of the agreement|two trainings", said)
    one = {"n_models": 1, "reproducibility": NOTHING}
    untested = pd.DataFrame([PEAK | unknown | {"score": "test_error", "interval_covers": "planes"}])
    for table, known in [(groups(DESCENT), {"peaks": untested}), (groups([0.7, 0.3, 0.2, 0.1], **one), {})]:
        (said,) = found_in(table, **known).sentences
        assert "these trainings alone do not tell whether there is double descent" in said
        assert "chance" not in said
    (alone,) = found_in(groups([0.1], **covers | {"reproducibility": 0.6})).sentences
    assert alone.startswith("label noise 0.2, test planes: these trainings of net agree on 60.0%")


def test_failed_and_diverged_trainings_have_a_sentence_each():
    found = found_in(groups([0.3, 0.2], n_diverged=[0, 1], n_failed=[2, 0]))
    assert found.sentences[-2:] == [
        "1 of 9 trainings diverged and are left out: net, width 4, label noise 0.2 (1 of 4).",
        "2 of 9 trainings failed and are left out (table outcomes says why): net, width 2, label noise 0.2 (2 of 5).",
    ]


def test_table_1_in_text_and_the_extremes():
    table = recipes()
    between = pd.DataFrame({"plane_set": "test", "label_noise": 0.2, "reproducibility": [0.7, 0.5],
                            "reproducibility_low": [0.6, 0.4], "reproducibility_high": [0.8, 0.6]})  # fmt: skip
    for column in PARTS:
        first, second, third, _ = table[column]
        between[f"{column}_a"], between[f"{column}_b"] = first, [second, third]
    found = found_in(table, between)
    lines = summary_of(table, between=between).splitlines()
    assert lines[1].split() == ["reproducibility", "accuracy"]
    assert lines[2].split() == ["net,", "Adam", "80.0", "[79.0,", "81.0]", "90.0", "[89.0,", "91.0]"]
    assert lines[5].split() == ["vit,", "SGD+SAM", "diverged"]
    assert "most for net, SGD+SAM (90.0% [89.0, 91.0] of the points) and least for vit, Adam" in found.sentences[0]
    assert "net, Adam and net, SGD+SAM agree most (70.0% [60.0, 80.0])" in found.sentences[1]
    assert "net, Adam and vit, Adam least (50.0% [40.0, 60.0])" in found.sentences[1]
    assert "3 of 12 trainings diverged" in found.sentences[-1]


@pytest.mark.parametrize(("test", "end"), [([0.1, 0.2, 0.3], "smallest"), ([0.3, 0.2, 0.1], "largest")])
def test_a_best_rate_at_an_end_asks_for_a_wider_grid(test, end):
    found = found_in(rates(test))
    assert found.of(Kind.BEST_RATE)[0].condition["at_end"] == end
    best = 0.001 if end == "smallest" else 0.1
    assert found.sentences[-1].endswith(f": net, label noise 0.2 ({best:g}, the {end}).")
    text = summary_of(rates(test))
    assert "held-out error" in text
    assert "test error" not in text


@pytest.mark.parametrize(
    ("student", "verdict"),
    [(0.9, "resemble their teachers more"), (0.3, "resemble their teachers less"), (0.61, "no difference beyond")],
)
def test_students_and_teachers_in_words(student, verdict):
    table = recipes()
    row = {"label_noise": 0.2, "plane_set": "test", "same_start": False}
    for role, index in (("student", 1), ("teacher", 2), ("control", 0)):
        row |= {f"{role}_{column}": table[column][index] for column in PARTS}
    row |= with_ends("student_agreement", student, 0.02) | with_ends("control_agreement", 0.6, 0.02)
    told = found_in(table, distillation=pd.DataFrame([row])).sentences[1]
    of_student = f"{100 * student:.1f}% [{100 * student - 2:.1f}, {100 * student + 2:.1f}]"
    assert intervals_in(told) == [of_student, "60.0% [58.0, 62.0]"]
    assert all(name in told for name in ("(net, SGD+SAM)", "(vit, Adam)", "(net, Adam)", verdict))


def test_the_sharpness_of_each_recipe():
    table = groups([0.1, 0.1], width=4, recipe=["SGD", "SGD+SAM"], sharpness=[0.5, 0.02])
    assert list(found_in(table).answers) == ["Does training again give the same model?", "How flat are the minima?"]
    assert found_in(table).sentences[1].endswith("SGD 0.5000 [0.4900, 0.5100], SGD+SAM 0.0200 [0.0100, 0.0300].")


def test_without_curves_sentences_compare_trainings_and_planes():
    table = groups([0.3, 0.2], reproducibility=[0.7, 0.9])
    other = table.assign(plane_set="noise", fragmentation=1.5, fragmentation_low=1.25, fragmentation_high=1.75)
    answers = found_in(pd.concat([table, other])).answers
    told = {question: sentence(findings[0]) for question, findings in answers.items()}
    seventy = "70.0% [69.0, 71.0]"
    assert intervals_in(told["Does training again give the same model?"]) == ["90.0% [89.0, 91.0]", seventy]
    others = [seventy, seventy, "5.00 [4.99, 5.01]", "1.50 [1.25, 1.75]"]
    assert intervals_in(told["What changes on other planes?"]) == others
    assert intervals_in(*found_in(groups([0.3])).sentences) == ["50.0% [49.0, 51.0]"]


def of_margins(width, all_images, correct=NOTHING, mislabelled=NOTHING, found=1.0):
    row = KEY | {"width": width, "n_models": 3, "margin_found": found} | with_ends("test_error", 1 / width)
    row |= with_ends("margin", all_images)
    return row | with_ends("margin_correct", correct) | with_ends("margin_mislabelled", mislabelled)


def margins_of(*rows):
    return list(margins(curves(pd.DataFrame(rows), WIDTH)))


def test_margins_over_a_curve():
    rows = of_margins(4, 1.0, 1.2, 0.5), of_margins(8, 2.0, 2.2, 1.5, found=0.89), of_margins(16, 3.0, 3.2, 2.5)
    (finding,) = margins_of(*rows)
    assert [(n.score, n.subject.keys["width"], n.value) for n in finding.numbers] == [
        (score, row["width"], row[score]) for score in ("margin_correct", "margin_mislabelled") for row in rows
    ]
    assert finding.condition["not_found"] == pytest.approx(0.11)
    assert intervals_in(sentence(finding))[3:5] == ["0.50 [0.40, 0.60]", "1.50 [1.40, 1.60]"]
    assert " 11% " in sentence(finding)


def test_margins_without_label_noise_and_without_margins():
    (finding,) = margins_of(of_margins(4, 1.0), of_margins(8, 2.0), of_margins(16, 3.0))
    assert [number.value for number in finding.of("margin")] == [1.0, 2.0, 3.0]
    assert intervals_in(sentence(finding)) == ["1.00 [0.90, 1.10]", "2.00 [1.90, 2.10]", "3.00 [2.90, 3.10]"]
    assert margins_of(*(of_margins(width, NOTHING) for width in (4, 8, 16))) == []


def of_stream(stream, share, disagreement=0.31, own=NOTHING, **others):
    covers = {"total_share_interval_covers": "models and planes", "own_share_interval_covers": "nothing"}
    shares = with_ends("total_share", share) | with_ends("own_share", own)
    return KEY | {"stream": stream, "disagreement": disagreement} | shares | covers | others


def test_streams_of_the_first_planes_at_the_last_epoch():
    rows = [
        of_stream(("init",), 0.9), of_stream(("order", "augmentation"), 0.7), of_stream(("label_noise",), NOTHING),
        of_stream(("init",), 0.1, plane_set="train"), of_stream(("init",), 0.2, epoch=1),
        of_stream(("init",), 0.5, disagreement=0.2, own=0.3, width=8),
        of_stream(("dropout",), 0.25, disagreement=0.2, width=8),
    ]  # fmt: skip
    first, second = streams(pd.DataFrame(rows))
    of_first = {number.subject.keys["stream"]: number.value for number in first.of("total_share")}
    assert of_first == {("init",): 0.9, ("order", "augmentation"): 0.7}
    assert [(n.subject.keys["stream"], n.value) for n in second.of("own_share")] == [(("init",), 0.3)]
    assert [one.number("all", "disagreement").value for one in (first, second)] == [0.31, 0.2]
    assert intervals_in(sentence(first))[-2:] == ["90% [80, 100]", "70% [60, 80]"]


@pytest.mark.parametrize("rows", [[], [of_stream(("init",), NOTHING, disagreement=0.0)]])
def test_without_shares_there_is_no_finding_about_streams(rows):
    assert not list(streams(pd.DataFrame(rows, columns=list(of_stream(("init",), 0.0)))))


def of_grid(kind, points, fragmentation, large):
    scores = with_ends("fragmentation", fragmentation) | with_ends("large_regions", large)
    return KEY | {"kind": kind, "resolution": points} | scores


def test_resolutions_of_the_group_with_most_regions():
    few = [of_grid("grid", 25, 3.0, 2.0), of_grid("grid", 49, 3.5, 2.1), of_grid("extrapolated", None, NOTHING, 2.2)]
    most = [{**row, "width": 8, "large_regions": row["large_regions"] + 3} for row in few]
    earlier = [{**row, "epoch": 1, "large_regions": 99} for row in few]
    table = pd.DataFrame([*few, *most, *earlier]).astype({"resolution": float})
    named = pd.DataFrame([KEY, KEY | {"width": 8}, KEY | {"epoch": 1}])
    (finding,) = resolution(table, named)
    assert str(finding.subject) == "net, width 8"
    grids = [(n.subject.keys["resolution"], n.value) for n in finding.of("large_regions", "grid")]
    assert grids == [(25, 5.0), (49, pytest.approx(5.1))]
    assert finding.number("limit", "large_regions").value == pytest.approx(5.2)
    assert list(resolution(table.astype({"resolution": "Int64"}), named)) == [finding]
    assert not list(resolution(table.iloc[:0], named))


def test_models_that_predict_one_class():
    counts = [width % 3 for width in range(1, 13)]
    (finding,) = found_in(groups([0.5] * 12, n_constant=counts)).of(Kind.CONSTANT)
    assert [number.value for number in finding.numbers] == [sum(counts), *filter(None, counts)]
    assert sentence(finding).endswith("label noise 0.2 (2 of 3); and 2 more.")
    assert not found_in(groups([0.5] * 12)).of(Kind.CONSTANT)

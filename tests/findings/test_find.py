"""Findings as rows, and some of their sentences."""

import re

import pandas as pd
import pytest
from support.group_tables import DESCENT, between_groups, found_in, groups, recipes, summary_of
from support.table_rows import KEY, NAN, of_grid, of_margins, of_stream

from dbviz_ray.analysis.findings import Kind
from dbviz_ray.analysis.findings.curves import WIDTH, curves
from dbviz_ray.analysis.findings.find import margins, resolution, streams
from dbviz_ray.analysis.findings.sentences import sentence


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

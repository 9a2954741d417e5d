"""Predictions of any framework are read alike from every kind of file, or refused in one line."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.refusals import refused

from dbviz_ray.analysis.predictions.matching import Columns, read_predictions

CLASSES = ["bird", "cat", "ship"]
LABELS = np.array([0, 1, 2, 2, 0, 1])
OLD, NEW = np.array([0, 1, 2, 1, 0, 2]), np.array([0, 2, 2, 2, 1, 2])
IDS = [f"{number}.png" for number in range(6)]


def probabilities(predicted):
    return np.where(predicted[:, None] == np.arange(3), 0.6, 0.2)


def columns(form, predicted):
    names = np.array(CLASSES)
    return {
        "texts": {"id": IDS, "label": names[LABELS], "prediction": names[predicted]},
        "numbers": {"Image": IDS, "target": LABELS, "y_pred": predicted.astype(float)},
        "lists": {"path": IDS, "y_true": LABELS, "probabilities": list(probabilities(predicted).astype(np.float32))},
        "one each": {"id": IDS, "truth": names[LABELS]}
        | {f"prob_{name}": column for name, column in zip(CLASSES, probabilities(predicted).T, strict=True)},
    }[form]


def write(path, content):
    if path.name.endswith(".npz"):
        np.savez(path, **{name: np.array(list(values)) for name, values in content.items()})
    elif path.name.endswith(".parquet"):
        pq.write_table(pa.table(content), path)
    else:
        pd.DataFrame(content).to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("form", ["texts", "numbers", "lists", "one each"])
@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "npz"])
def test_every_form_in_every_kind_of_file_gives_the_same_classes(form, kind, tmp_path):
    if form == "lists" and "csv" in kind:
        pytest.skip("CSV has no lists")
    files = [write(tmp_path / f"{name}.{kind}", columns(form, of)) for name, of in (("old", OLD), ("new", NEW))]
    found = read_predictions(files)
    assert found.names == ("old", "new")
    assert found.class_names == (tuple(CLASSES) if form in ("texts", "one each") else ("0", "1", "2"))
    assert np.array_equal(found.predicted, [OLD, NEW])
    assert np.array_equal(found.truth, LABELS)
    assert found.ids.to_pylist() == IDS


def test_rows_are_matched_by_ids_and_classes_that_look_alike_are_the_same(tmp_path):
    order = np.random.default_rng(0).permutation(6)
    numbers = write(tmp_path / "a.parquet", {"id": range(6), "label": LABELS, "prediction": OLD.astype(np.uint8)})
    texts = {"id": order, "prediction": NEW[order].astype(str), "city": np.array(["x", "y"])[order % 2]}
    found = read_predictions([numbers, write(tmp_path / "b.csv", texts)], (), Columns(groups=["city"]))
    assert np.array_equal(found.predicted, [OLD, NEW])
    codes, cities = found.groups["city"]
    assert [cities[code] for code in codes] == ["x", "y"] * 3
    some = write(tmp_path / "c.csv", {"id": [4, 2, 9], "prediction": [1, 2, 0]})
    assert "has 1 others" in refused(read_predictions, [numbers, some]).reason
    common = read_predictions([numbers, some], (), Columns(common=True))
    assert common.ids.to_pylist() == ["2", "4"], "texts, since one file is CSV"
    assert common.predicted.tolist() == [[2, 0], [2, 1]]
    assert "Only the 2 items" in common.remarks[0]


def test_rows_without_ids_are_matched_by_their_order_and_can_be_chosen(tmp_path):
    content = {"split": ["train", *["test"] * 5], "predicted": OLD}
    files = [write(tmp_path / f"{name}.csv", content | {"predicted": of}) for name, of in (("a", OLD), ("b", NEW))]
    found = read_predictions(files, ("before", "after"), Columns(where={"split": "test"}))
    assert found.names == ("before", "after")
    assert np.array_equal(found.predicted, [OLD[1:], NEW[1:]])
    assert found.truth is None
    assert len(found.remarks) == 2


WRONG = {
    "labels differ": ({"label": [0, 1, 2, 2, 1, 1]}, "labels differ: item 4 is 1 here and 0"),
    "an id twice": ({"id": [0, 1, 2, 3, 4, 4]}, "stands in 2 rows"),
    "ids that are lacking": ({"id": [0, 1, 2, 3, 4, 6]}, "lacks 1 items and has 1 others"),
    "a missing prediction": ({"prediction": [0, 1, None, 1, 0, 2]}, "has no value in row 2"),
    "scores for classes": ({"prediction": [0.5, 1, 2, 1, 0, 2]}, ""),
    "probabilities beyond one": ({"prediction": None, "prob_0": [0.5] * 6, "prob_1": [0.6] * 6}, "sums to 1.1"),
    "probabilities below zero": ({"prediction": None, "prob_0": [-0.5] * 6, "prob_1": [1.5] * 6}, "no probabilities"),
    "lists of unequal length": ({"prediction": None, "probs": [[1.0]] * 5 + [[0.5, 0.5]]}, "differ in length"),
    "texts for probabilities": ({"prediction": None, "prob_0": ["a"] * 6, "prob_1": ["b"] * 6}, ""),
    "other names for classes": ({"prediction": ["a", "b", "c", "a", "b", "c"]}, "none of which is a label"),
    "lists for classes": ({"prediction": [[1, 0]] * 6}, "holds lists"),
    "no predictions": ({"prediction": None}, "has no predictions among its columns id, label"),
    "other numbers of rows": ({"id": None, "label": [0] * 6}, "rows and no ids"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_files_that_do_not_fit_are_refused_in_one_line(mistake, tmp_path):
    changed, told = WRONG[mistake]
    right = {"id": range(6), "label": LABELS, "prediction": OLD}
    wrong = {name: values for name, values in (right | changed).items() if values is not None}
    first = right if "id" in wrong else {"prediction": OLD[:5]}
    files = [write(tmp_path / "old.parquet", first), write(tmp_path / "new.parquet", wrong)]
    error = refused(read_predictions, files)
    assert told in error.reason
    assert "new.parquet" in error.field or error.field == "files"


def test_files_that_are_none_are_refused(tmp_path):
    good = write(tmp_path / "good.csv", {"id": range(6), "prediction": OLD})
    for name, content in (("cut.parquet", b"PAR1"), ("empty.csv", b""), ("bad.npz", b"PK"), ("model.pt", b"x")):
        (tmp_path / name).write_bytes(content)
        assert refused(read_predictions, [good, str(tmp_path / name)]).field == str(tmp_path / name)
    assert refused(read_predictions, [good, str(tmp_path / "absent.csv")]).field == str(tmp_path / "absent.csv")
    assert refused(read_predictions, [good]).field == "files"
    assert refused(read_predictions, [good, good], ("one",)).field == "names"
    for wanted in (Columns(groups=["city"]), Columns(where={"city": 1}), Columns(id="key"), Columns(where={"id": 9})):
        refused(read_predictions, [good, good], ("a", "b"), wanted)


def test_texts_in_csv_stay_texts_and_ids_are_in_every_file_or_in_none(tmp_path):
    rows = {"id": ["007", "008", "009"], "prediction": ["001", "002", "true"]}
    one, other = (write(tmp_path / name, rows) for name in ("one.csv", "other.csv"))
    found = read_predictions([one, write(tmp_path / "two.parquet", rows), other])
    assert found.class_names == ("001", "002", "true")
    assert (found.predicted == found.predicted[0]).all()
    bare = write(tmp_path / "bare.csv", {"prediction": rows["prediction"]})
    assert refused(read_predictions, [one, other, bare]).field == bare
    (tmp_path / "twice.csv").write_text("id,label,label\n1,1,1\n2,1,1\n")
    assert "two columns" in refused(read_predictions, [one, str(tmp_path / "twice.csv")]).reason

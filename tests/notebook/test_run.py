"""A run in a notebook."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from support.notebook_runs import LOST, notebook_run

import dbviz_ray
from dbviz_ray import load_run
from dbviz_ray.analysis.tables import read_table
from dbviz_ray.errors import UserError
from dbviz_ray.store import Picture

MODEL = "w4-adam-noise0.2-seed1"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return notebook_run(tmp_path_factory.mktemp("notebook") / "small")


def test_scores_are_the_stored_tables(run):
    groups = read_table(run.store, "groups")
    pd.testing.assert_frame_equal(run.table("groups"), groups)
    pd.testing.assert_frame_equal(run.scores["groups"], groups)
    assert isinstance(run.arrow("groups"), pa.Table)
    assert run.arrow("groups").num_rows == len(groups)
    assert set(run.scores) == set(run.tables) > {"groups", "models", "pairs", "outcomes"}
    assert "groups" in run.scores
    assert "regions" not in run.scores
    with pytest.raises(UserError) as raised:
        run.table("regions")
    assert raised.value.mistakes[0].allowed == ", ".join(run.tables)


def test_findings_are_sentences(run):
    assert any("width 8" in sentence for sentence in run.findings)


def test_models_come_with_all_their_fields_and_what_became_of_them(run):
    models = run.models.set_index("model_id")
    assert len(models) == 12
    for config in run.sweep.models():
        row = models.loc[config.model_id]
        assert (row["width"], row["label_noise"]) == (config.width, config.label_noise)
        assert row["training.epochs"] == 3
        assert row["seeds.init"] == config.seeds.init
    lost = models[models["outcome"] != "done"]
    assert list(lost.index.str.contains(LOST)) == [True]
    assert lost["test_error"].isna().all()
    scored = run.table("models")
    last = scored[(scored["epoch"] == 3) & (scored["plane_set"] == "test")].set_index("model_id")
    assert models.drop(lost.index)["test_error"].to_dict() == last["test_error"].to_dict()


def test_label_maps_are_arrays_and_tables(run):
    model = next(model for model in run.sweep.models() if MODEL in model.model_id)
    maps = run.label_maps(MODEL)
    assert (maps.shape, maps.dtype) == ((6, 12, 12), np.uint8)
    assert np.array_equal(maps, run.store.read_label_maps("test", model.model_id, 3))
    early = run.label_maps(MODEL, plane_set="train", epoch=1)
    assert np.array_equal(early, run.store.read_label_maps("train", model.model_id, 1))
    assert np.array_equal(run.label_maps(f"{MODEL}@1", "train"), early)
    table = run.label_table(MODEL)
    assert table.column_names == ["plane", "labels"]
    assert table["labels"][4].as_py() == maps[4].reshape(-1).tolist()
    assert np.array_equal(run.picture(MODEL, plane=2).labels, maps[2])


def test_a_picture_is_the_finer_one_where_there_is_one(run, tmp_path):
    own = notebook_run(tmp_path / "small")
    model = next(model for model in own.sweep.models() if MODEL in model.model_id)
    own.store.write_picture("test", model.model_id, 3, 2, Picture(np.full((30, 30), 7, np.uint8)))
    assert own.picture(MODEL, plane=2).labels.shape == (30, 30)
    assert own.picture(MODEL, plane=1).labels.shape == (12, 12)


def test_planes_and_their_images(run):
    assert len(run.planes("train")) == 4
    assert {"anchor_a", "anchor_b", "a_range", "b_range"} < set(run.planes().columns)
    assert run.plane(3).images.shape == (3, 2, 2, 3)
    assert run.plane(3).extent == (-0.1, 1.1, -0.1, 1.1)


@pytest.mark.parametrize(
    ("asked", "field", "allowed"),
    [
        (lambda run: run.label_maps("w4-"), "model", "one model_id"),
        (lambda run: run.label_maps(MODEL, "trains"), "plane set", "test, train"),
        (lambda run: run.label_maps(MODEL, epoch=2), "model", "1, 3"),
        (lambda run: run.label_maps(LOST), "label maps of", "models that are trained"),
        (lambda run: run.picture(MODEL, 6), "plane", "from 0 to 5"),
        (lambda run: run.plane(-1), "plane", "from 0 to 5"),
        (lambda run: load_run(run.store.path("scores")), "", "a run directory"),
    ],
)
def test_a_user_error_says_what_is_missing_and_what_is_allowed(run, asked, field, allowed):
    with pytest.raises(UserError) as raised:
        asked(run)
    (mistake,) = raised.value.mistakes
    assert mistake.field.startswith(field)
    assert allowed in str(mistake)


def test_what_is_damaged_or_not_there_yet_is_told(tmp_path):
    run = notebook_run(tmp_path / "small")
    file = run.store.labels_file("test", run.sweep.models()[0].model_id, 3)
    run.store.write(file, run.store.read(file)[:-20])
    with pytest.raises(UserError, match=r"labels\.parquet is damaged"):
        run.label_maps(run.sweep.models()[0].model_id)
    run.store.remove_folder("scores")
    assert "tables: none yet" in repr(run)
    assert "outcome" not in run.models
    for asked in (lambda: run.findings, lambda: run.table("groups")):
        with pytest.raises(UserError, match="after the stage analyse"):
            asked()


def test_a_run_tells_what_it_is(run):
    text = repr(run)
    assert text.startswith(
        f"Run of small in {run.store.root}\n  models: 12\n  planes: test (6 of 12 x 12 points), train"
    )
    assert "groups" in text
    assert len(text.splitlines()) == 4


def test_every_name_of_the_package_is_there():
    for name in dbviz_ray.__all__:
        assert getattr(dbviz_ray, name).__name__ == name
        assert name in dir(dbviz_ray)
    with pytest.raises(AttributeError, match="no attribute 'plot_everything'"):
        _ = dbviz_ray.plot_everything


def test_looking_at_a_run_needs_neither_torch_nor_ray(run):
    code = (
        "import sys; from dbviz_ray import load_run, plot_curve, plot_matrix, plot_regions; "
        f"run = load_run({run.store.root!r}); run.models; run.label_maps({MODEL!r}); plot_regions(run, {MODEL!r}); "
        "plot_curve(run); plot_matrix(run); print({'torch', 'ray', 'mlflow'} & set(sys.modules))"
    )
    environment = {"MPLBACKEND": "agg"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert (result.stdout, result.returncode) == ("set()\n", 0), result.stderr

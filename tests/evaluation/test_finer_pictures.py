"""Pictures that are taken of a finished run when somebody asks for them."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small_sweep

from dbviz_ray.analysis.figures.sweep_tables import on_one_grid
from dbviz_ray.evaluation import pictures as finer_pictures
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.evaluation.pictures import take_picture, take_pictures
from dbviz_ray.evaluation.records import load_network, load_planes
from dbviz_ray.redraw import main
from dbviz_ray.store import Picture, PictureKey, Store


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run."""
    finished, sweep = finished_run
    shutil.copytree(finished.root, tmp_path / "run")
    return Store(tmp_path / "run"), sweep


def pictures(store: Store) -> list[str]:
    return store.files("pictures", "picture.parquet")


def test_what_the_figures_show_is_labelled_and_nothing_else(run, cpu, capsys):
    store, sweep = run
    assert main(["figures", store.root, "decision_regions", "--resolution", "23"]) == 0
    assert "label    12 models in " in capsys.readouterr().err
    model = next(model for model in sweep.models() if model.label_noise)
    assert len(pictures(store)) == 2 * 2 * 3, "two widths with and without noise, three seeds; no other plane set"
    network = load_network(store, model, (1, 8, 8), 10)
    expected = label_planes(network, load_planes(store, "test")[0].part([0], 23), cpu).labels[0]
    assert np.array_equal(store.read_picture("test", model.model_id, 3, 0).labels, expected)
    before = store.read(store.figure_file("decision_regions"))
    assert main(["figures", store.root, "decision_regions", "--resolution", "20"]) == 0
    assert capsys.readouterr().err == "", "what is as fine stays"
    assert store.read(store.figure_file("decision_regions")) == before


def test_planes_that_are_as_fine_already_are_left_alone(run):
    store, sweep = run
    model = sweep.models()[0].model_id
    wanted = [PictureKey(model, 3, "train", 1), PictureKey(model, 3, "test", 1)]
    take_pictures(store, sweep, wanted, 50)
    assert pictures(store) == [store.picture_file("test", model, 3, 1)]


@pytest.mark.parametrize(("least", "threads"), [(50_000_000, 1), (0, 2)])
def test_small_networks_have_one_thread_and_torch_keeps_its_own_number(run, monkeypatch, least, threads):
    store, sweep = run
    model_id, used = sweep.models()[0].model_id, []

    def taken(*arguments: Any, **options: Any) -> Picture:
        used.append(torch.get_num_threads())
        return take_picture(*arguments, **options)

    monkeypatch.setattr(finer_pictures, "take_picture", taken)
    monkeypatch.setattr(finer_pictures, "SMALL_NETWORK", least)
    torch.set_num_threads(2)
    try:
        take_pictures(store, sweep, [PictureKey(model_id, 3, "test", 0)], 13)
        assert (used, torch.get_num_threads()) == ([threads], 2)
    finally:
        torch.set_num_threads(1)


def test_figures_show_pictures_of_several_grids(run):
    store, sweep = run
    model = next(model for model in sweep.models() if model.label_noise)
    store.write_picture("test", model.model_id, 3, 0, Picture(np.zeros((30, 30), np.uint8)))
    assert main(["figures", store.root, "decision_regions", "disagreement"]) == 0


def test_maps_are_enlarged_to_the_finest_by_their_nearest_points():
    coarse, fine = np.array([[0, 1], [2, 3]]), np.arange(16).reshape(4, 4)
    both = on_one_grid([coarse, fine])
    assert both[0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert np.array_equal(both[1], fine)


@pytest.mark.parametrize("resolution", ["1", "2001"])
def test_a_resolution_that_is_none_is_refused(run, resolution, capsys):
    assert main(["figures", run[0].root, "decision_regions", "--resolution", resolution]) == 2
    assert f"--resolution: {resolution} is not allowed; allowed: from 2 to 2000" in capsys.readouterr().err


def test_without_weights_there_are_no_finer_pictures(run, capsys):
    store, _ = run
    store.remove_folder("models")
    assert main(["figures", store.root, "decision_regions"]) == 0
    assert main(["figures", store.root, "decision_regions", "--resolution", "30"]) == 2
    assert "is not there; allowed: no --resolution without the weights" in capsys.readouterr().err
    assert pictures(store) == []


def test_code_that_a_run_names_is_not_run_unless_it_is_trusted(run, capsys):
    """The code is a user's own network under its import string, as in a sweep of their own."""
    store, sweep = run
    code = "support.user_networks:quirky"
    model = small_sweep(grid={"architecture": [code], "width": [4]}).models()[0]
    file = store.model_file(sweep.models()[0].model_id, "model.json")
    store.write_json(file, store.read_json(file) | {"config": model.model_dump(mode="json")})
    arguments = ["disagreement", store.root, "w4-adam-noise0-seed0", "w4-adam-noise0-seed1", "--resolution", "30"]
    assert main(arguments) == 2
    assert f"names the code '{code}', which would be imported and run" in capsys.readouterr().err
    assert main([*arguments, "--trust", code]) == 2
    assert "describes the model" in capsys.readouterr().err
    assert pictures(store) == []

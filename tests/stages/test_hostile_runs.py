"""Run directories of somebody who means harm: what model.json names, names of files and folders, and links."""

from __future__ import annotations

import pickle
import shutil

import pytest
from conftest import small_sweep
from support.hostile import PLANES, Payload, folders, refused

from dbviz_ray import score
from dbviz_ray.config import ModelConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.evaluation.records import load_config, load_network
from dbviz_ray.evaluation.run_models import find_run_model

pytest_plugins = ["support.hostile"]

HUB = "def net(**_):\n    import os\n    os.system('touch {}')\n"


def changed(store, model, **fields):
    """Other fields in the configuration that a model.json holds."""
    file = store.model_file(model.model_id, "model.json")
    facts = store.read_json(file)
    facts["config"] |= fields
    store.write_json(file, facts)


@pytest.fixture
def code_named(run, marker):
    """A model whose configuration names code that is on every machine, and runs what lies beside it."""
    store, models = run
    hub = marker.parent / "run" / "hub"
    hub.mkdir()
    (hub / "hubconf.py").write_text(HUB.format(marker))
    options = {"repo_or_dir": str(hub), "model": "net", "source": "local"}
    changed(store, models[0], architecture="torch.hub:load", options=options)
    return run


def test_code_that_a_run_names_is_not_imported(code_named, capsys):
    line = refused(score, [*folders(code_named), *PLANES], capsys)
    assert "model.json: names the code 'torch.hub:load', which would be imported and run; allowed: " in line
    with pytest.raises(DamagedFileError, match="describes the model"):
        load_config(code_named[0], code_named[1][0].model_id)


def test_packages_that_a_run_names_are_not_imported(run, marker, monkeypatch, capsys):
    store, models = run
    package = marker.parent / "hostile_package"
    package.mkdir()
    (package / "__init__.py").write_text(f"import os\nos.system('touch {marker}')\n")
    (package / "networks.py").touch()
    monkeypatch.syspath_prepend(marker.parent)
    code = "hostile_package.networks:make"
    for fields in ({"architecture": code}, {"dataset": {"name": code}},
                   {"training": {"distillation": {"recipe": "a", "architecture": code}}}):  # fmt: skip
        changed(store, models[0], **fields)
        assert code in refused(score, [*folders(run), *PLANES], capsys)
        with pytest.raises(DamagedFileError):
            load_config(store, models[0].model_id)
    small_sweep(grid={"architecture": [code], "width": [4], "seed": [0, 1]})  # is found, and not imported


def test_code_that_the_reader_knows_is_imported(run, tmp_path, monkeypatch, capsys):
    store, models = run
    (tmp_path / "known.py").write_text(
        "from dbviz_ray.architectures.fully_connected import fully_connected\n"
        "def network(width, image_shape, classes):\n"
        "    return fully_connected(width=width, image_shape=image_shape, classes=classes)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    renamed = []
    for model in models:
        other = ModelConfig.model_validate(model.model_dump() | {"architecture": "known:network"})
        shutil.copytree(store.path(f"models/{model.model_id}"), store.path(f"models/{other.model_id}"))
        changed(store, other, architecture="known:network")
        renamed.append(other)
    assert "--trust 'known:network'" in refused(score, [*folders((store, renamed)), *PLANES], capsys)
    trusted = ["--trust", "known:network", "--out", str(tmp_path / "out")]
    assert score.main([*folders((store, renamed)), *PLANES, *trusted]) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"teacher": "../../other"}, {"architecture": "../../x"}, {"architecture": "timm/../../x"}, {"width": 2**70},
        {"options": {"depth": "../x"}}, {"training": {"epochs": 10**30}}, {"recipe": "../../x"}, {"seeds": {}},
        {"label_noise": "\x1b[2J"}, {"dataset": {"name": "image_folder", "folder": "../../x"}}, {"x": 1},
    ],
    ids=str,
)  # fmt: skip
def test_fields_that_would_lead_elsewhere(fields, run, marker, capsys):
    store, models = run
    changed(store, models[0], **fields)
    capsys.readouterr()
    assert score.main([*folders(run), *PLANES]) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert "\x1b" not in printed
    with pytest.raises(DamagedFileError):
        load_config(store, models[0].model_id)


def test_a_model_json_that_is_none(run, marker, capsys):
    store, models = run
    file = marker.parent / "run" / store.model_file(models[0].model_id, "model.json")
    for content in (b"", b"[" * 100_000, b"[]", b"{}", b'{"outcome": "done", "config": [1]}', b"\xff\xfe", b"null"):
        file.write_bytes(content)
        assert models[0].model_id in refused(score, [*folders(run), *PLANES], capsys) or content.endswith(b"[1]}")
        with pytest.raises(DamagedFileError):
            load_config(store, models[0].model_id)


# ---- names and links


def test_hostile_names(run, marker, capsys):
    store, _ = run
    other = folders(run)[1]
    for name in ("a\nb", "a\x1b]0;title\x07", ".."):
        there = f"{store.root}/models/{name}"
        if name != "..":
            shutil.copytree(folders(run)[0], there)
        refused(score, [there, other, *PLANES], capsys)
    for epoch in ("9" * 200, "1" * 9, "\N{ARABIC-INDIC DIGIT ONE}"):
        refused(score, [f"{other}/snapshots/epoch={epoch}", other, *PLANES], capsys)
    with pytest.raises(UserError, match="not a name within a run directory"):
        store.read_predictions("../../elsewhere")


def test_a_link_is_followed_to_read_and_never_to_delete(run, digits, marker):
    store, models = run
    folder, elsewhere = marker.parent / "run" / "models" / models[0].model_id, marker.parent / "elsewhere"
    shutil.move(folder, elsewhere)
    folder.symlink_to(elsewhere)
    load_network(store, models[0], digits.image_shape, 10)
    assert find_run_model(str(folder)).config == models[0]
    store.remove_folder(f"models/{models[0].model_id}")
    assert not folder.exists()
    (marker.parent / "run" / "cohorts").mkdir()
    (marker.parent / "run" / "cohorts" / "link").symlink_to(elsewhere)
    store.remove_folder("cohorts")
    assert (elsewhere / "weights.safetensors").exists()


def test_hostile_names_of_images(tmp_path, marker):
    from PIL import Image

    for split in ("train", "test"):
        for name in ("a\x1b[2J", "b\nc"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / name / "0.png")
    (tmp_path / "train" / "b\nc" / "\x1b[2J.png").write_bytes(pickle.dumps(Payload(marker)))
    config = small_sweep(dataset={"name": "image_folder", "folder": str(tmp_path)}).dataset
    with pytest.raises(UserError, match="an image that can be read") as raised:
        load_dataset(config, "unused")
    assert "\x1b" not in str(raised.value)

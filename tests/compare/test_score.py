"""The command that compares a user's own models, its report and its other files."""

import base64
import hashlib
import inspect
import io
import json
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from PIL import Image
from support.cohorts import cohort_of
from support.html_pages import Page
from torch import nn

from dbviz_ray import compare
from dbviz_ray.analysis.compare import command as compare_command
from dbviz_ray.analysis.compare import labelling
from dbviz_ray.architectures import initialised_network
from dbviz_ray.evaluation.run_models import find_run_model
from dbviz_ray.formatting import names_of_paths
from dbviz_ray.score import main
from dbviz_ray.training.cohort import train_cohort

ARCHITECTURE = ["--model", "fully_connected", "--width", "16"]
BOTH = ["OLD", "NEW", *ARCHITECTURE]
OWN = ["--model", f"{__name__}:network", "--model-option", "hidden=16"]
DIGITS = ["--data", "digits", "--data-option", "train_size=200", "--data-option", "test_size=100"]
PLANES = ["--planes", "12", "--resolution", "10", "--device", "cpu"]
NUMBERS = {"models.csv", "pairs.csv", "images.csv", "comparison.json", "comparison.txt"}
FILES = NUMBERS | {"report.html", "regions.png", "agreement_by_plane.png", "contested_images.png"}


def network(hidden, classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, classes))


READY = {"seed": 0}


def ready():
    return initialised_network("fully_connected", 16, (1, 8, 8), 10, READY["seed"])


def of_a_sweep(width, image_shape, classes):
    return network(width, classes)


@pytest.fixture(scope="module")
def networks(digits, cpu):
    """Three trainings of one network."""
    trained = train_cohort(cohort_of(width=16, epochs=30, precision="float32")[:3], digits, cpu)
    made = {name: initialised_network("fully_connected", 16, (1, 8, 8), 10).eval() for name in ("old", "new", "third")}
    for module, model in zip(made.values(), trained, strict=True):
        module.load_state_dict(model.weights)
    return made


@pytest.fixture(scope="module")
def files(networks, tmp_path_factory):
    """A state dict, a training's checkpoint with DataParallel's names, and safetensors."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(networks["old"].state_dict(), folder / "old.pt")
    torch.save({"epoch": 60, "model": nn.DataParallel(networks["new"]).state_dict()}, folder / "new.pth")
    safetensors.torch.save_file(networks["third"].state_dict(), folder / "third.safetensors")
    return folder


@pytest.fixture
def command(files):
    return [str(files / "old.pt"), str(files / "new.pth"), *ARCHITECTURE, *DIGITS, *PLANES]


def test_the_command_as_a_user_types_it(files, networks, digits, tmp_path):
    """The user's code stands in the folder in which the command starts."""
    (files / "my_code.py").write_text(f"from torch import nn\n\n\n{inspect.getsource(network)}")
    own = ["--model", "my_code:network", "--model-option", "hidden=16", "--name", "before", "--name", "after"]
    words = ["dbviz_ray.score", "old.pt", "new.pth", *own, *DIGITS, *PLANES, "--out", str(tmp_path / "out")]
    result = subprocess.run([sys.executable, "-m", *words], cwd=files, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "label    2 models in " in result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert "before, after" in result.stdout
    images, labels = digits.normalised(digits.test_images), digits.test_labels
    alone = compare([networks["old"], networks["new"]], images, labels, planes=12, resolution=10)
    (pair,) = pd.read_csv(tmp_path / "out" / "pairs.csv").to_dict("records")
    assert pair["reproducibility"] == pytest.approx(alone.reproducibility.value)
    assert pair["churn"] == pytest.approx(alone.pairs[0].on_images.churn.value)
    assert pair["churn"] > 0
    for told in (alone.reproducibility, alone.pairs[0].on_images.churn):
        assert str(told) in result.stdout


def test_the_report_is_one_file_with_the_numbers_and_the_json_names_its_inputs(files, tmp_path):
    of_three, weights = tmp_path / "out", [str(files / name) for name in ("old.pt", "new.pth", "third.safetensors")]
    assert main([*weights, *ARCHITECTURE, *DIGITS, *PLANES, "--out", str(of_three)]) == 0
    page = Page((of_three / "report.html").read_text("utf-8"))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert [link for link in page.references if not link.startswith(("data:image/webp;base64,", "#"))] == []
    shown = [base64.b64decode(source.partition(",")[2]) for source in page.references if source.startswith("data:")]
    names = ("reproducibility", "regions", "agreement_by_plane", "contested_images")
    for picture, name in zip(shown, names, strict=True):
        stored = Image.open(of_three / f"{name}.png")
        assert np.array_equal(Image.open(io.BytesIO(picture)).convert("RGBA"), stored.convert("RGBA")), name
    words = page.text
    for pair in pd.read_csv(of_three / "pairs.csv").to_dict("records"):
        assert f"{pair['old']}, {pair['new']}" in words
        for score in ("reproducibility", "kappa", "churn", "wins", "losses", "capa"):
            assert f"{pair[score]:.3f} [{pair[score + '_low']:.3f}, {pair[score + '_high']:.3f}]" in words, score
    for model in pd.read_csv(of_three / "models.csv").to_dict("records"):
        assert f"{model['regions']:.2f} [{model['regions_low']:.2f}, {model['regions_high']:.2f}]" in words
    assert "dbviz-ray score" in words
    result = json.loads((of_three / "comparison.json").read_text(), parse_constant=pytest.fail)
    hashed = hashlib.sha256((files / "third.safetensors").read_bytes()).hexdigest()
    assert [model["name"] for model in result["checkpoints"]] == ["old", "new", "third"]
    assert result["checkpoints"][2]["sha256"] == hashed
    assert result["checkpoints"][2]["model"] == "fully_connected"
    assert result["arguments"]["planes"] == 12
    assert result["provenance"]["torch"] == version("torch")
    assert result["command"].startswith("dbviz-ray score ")
    assert result["reproducibility"]["covers"] == "models and items"
    assert len(result["pairs"]) == 3
    assert result["data"]["split"] == "test"


def test_a_users_network_as_a_sweep_takes_it(command, here):
    own = [word.replace("fully_connected", f"{__name__}:of_a_sweep") for word in command]
    assert main([*own, "--out", "own"]) == main([*command, "--out", "registered"]) == 0
    assert (here / "own" / "pairs.csv").read_text() == (here / "registered" / "pairs.csv").read_text()


def test_models_of_a_run_need_neither_model_nor_data(finished_run, files, digits, here, capsys):
    store, sweep = finished_run
    folders = [store.path(f"models/{model.model_id}") for model in sweep.models()[:2]]
    assert main([*folders, *PLANES]) == 0
    names = names_of_paths(folders, ())
    assert names[0] != sweep.models()[0].model_id
    assert sweep.models()[0].model_id.endswith(names[0])
    assert f"{names[0]} and {names[1]} predict" in capsys.readouterr().out
    modules = [find_run_model(folder).network() for folder in folders]
    images = digits.normalised(digits.test_images)
    result = compare(modules, images, digits.test_labels, planes=12, resolution=10)
    (pair,) = pd.read_csv(here / "comparison" / "pairs.csv").to_dict("records")
    assert pair["reproducibility"] == pytest.approx(result.reproducibility.value)
    assert pair["churn"] == pytest.approx(result.pairs[0].on_images.churn.value)
    file = str(files / "old.pt")
    assert main([folders[0], file, *ARCHITECTURE, *PLANES]) == 0, "a model of a run and a file"
    assert find_run_model(file) is find_run_model(store.root) is None


def test_foreign_files_stay_and_own_files_are_replaced(here, command, capsys):
    out = here / "comparison"
    out.mkdir()
    for name in ("pairs.csv", "comparison.json"):
        (out / name).write_text("mine")
        assert main(command) == 2
        assert name in capsys.readouterr().err
        (out / name).unlink()
    (out / "notes.txt").write_text("mine")
    assert main(command) == 0
    first = (out / "pairs.csv").read_text()
    assert main([*command, "--seed", "1", command[0]]) == 0
    assert (out / "pairs.csv").read_text() != first
    assert (out / "reproducibility.png").exists()
    assert main(command) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert {path.name for path in out.iterdir()} == FILES | {"notes.txt"}


@pytest.fixture
def labelled(monkeypatch):
    """The numbers of planes labelled by each call; with `stop` set, the call after so many is interrupted."""

    def counted(network, planes, *given, **named):
        if calls.stop == len(calls.planes):
            calls.stop = None
            raise KeyboardInterrupt
        calls.planes.append(len(planes))
        return label_planes(network, planes, *given, **named)

    calls = SimpleNamespace(planes=[], stop=None)
    label_planes = labelling.label_planes
    monkeypatch.setattr(labelling, "label_planes", counted)
    return calls


SIXTY = ["--planes", "60"]


def test_an_interrupted_command_keeps_the_planes_that_are_scored_and_continues(here, command, labelled, capsys):
    """Where none is scored, nothing is written."""
    labelled.stop = 1
    assert main([*command, *SIXTY]) == 130
    assert not (here / "comparison").exists()
    assert main([*command, *SIXTY, "--out", "whole"]) == 0
    labelled.planes.clear()
    labelled.stop = 7
    assert main([*command, *SIXTY]) == 130
    out = here / "comparison"
    assert out.name in capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == NUMBERS | {"labels.npz"}
    assert json.loads((out / "comparison.json").read_text())["planes"] == 30
    labelled.planes.clear()
    assert main([*command, *SIXTY]) == 0
    assert sum(labelled.planes) == 2 * (60 - 30)
    assert {path.name for path in out.iterdir()} == FILES
    for name in ("pairs.csv", "models.csv", "regions.png"):
        assert (out / name).read_bytes() == (here / "whole" / name).read_bytes()


@pytest.mark.parametrize("changed", ["inputs", "code"])
def test_labels_of_what_changed_are_not_continued(changed, here, command, labelled, monkeypatch):
    """A checkpoint may be a function, whose weights have no file."""
    words = [*(command if changed == "inputs" else [f"{__name__}:ready", *command[1:]]), *SIXTY]
    labelled.stop = 7
    assert main(words) == 130
    words += ["--seed", "1"] * (changed == "inputs")
    monkeypatch.setitem(READY, "seed", 5)
    assert main(words) == main([*words, "--out", "alone"]) == 0
    assert (here / "comparison" / "pairs.csv").read_text() == (here / "alone" / "pairs.csv").read_text()


def test_numbers_stay_when_drawing_is_interrupted(here, command, monkeypatch):
    monkeypatch.setattr(compare_command, "take_picture", Mock(side_effect=KeyboardInterrupt))
    assert main([*command, "--picture-resolution", "30"]) == 130
    assert {path.name for path in (here / "comparison").iterdir()} == NUMBERS


def test_pictures_cost_a_tenth_of_the_points_or_what_was_asked_for(here, command, monkeypatch):
    def counted(network, planes, plane, side, *rest, **named):
        sides.append(side)
        return take_picture(network, planes, plane, side, *rest, **named)

    sides, take_picture = [], compare_command.take_picture
    monkeypatch.setattr(compare_command, "take_picture", counted)
    assert main([*command, "--planes", "400", "--resolution", "4"]) == 0
    assert sides == [400 * 16 // 10 // 3 // 30] * 6  # two models, three planes, about 30 points a side
    sides.clear()
    assert main(command) == 0
    assert sides == [], "the grid that was scored is finer than a tenth of its points allows"
    assert main([*command, "--picture-resolution", "30"]) == 0
    assert sides == [30] * 6
    assert main([*command, "--no-pictures"]) == 0
    assert len(sides) == 6
    assert {path.name for path in (here / "comparison").iterdir()} == NUMBERS | {"report.html"}


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["OLD"], "CHECKPOINT: 1 "),
        (["OLD", "absent.pt", *ARCHITECTURE], "CHECKPOINT: 'absent.pt'"),
        (["OLD", "NEW"], "--model: "),
        (["OLD", "NEW", "--model", "fully_conected"], "--model: 'fully_conected'"),
        (["OLD", "NEW", "--model", f"{__name__}:netwerk"], "--model: "),
        (["OLD", "NEW", "--model", "builtins:dict"], "--model: 'builtins:dict'"),
        (["OLD", "NEW", "--model", f"{__name__}:network"], f"--model: '{__name__}:network'"),
        ([*BOTH, "--model-option", "depth=3"], "--model: 'fully_connected'"),
        ([*BOTH, "--model-option", "depth"], "--model-option: 'depth'"),
        (["OLD", "NEW", "THIRD", *ARCHITECTURE, "--width", "16"], "--width: 2 "),
        (["OLD", "NEW", "--model", "fully_connected", "--width", "16", "--width", "13"], "PATH/new.pth: "),
        ([*BOTH, "--name", "a"], "--name: ['a']"),
        ([*BOTH, "--name", "", "--name", "b"], "--name: ''"),
        ([*BOTH, "--name", "a\nc", "--name", "b"], r"--name: 'a\nc'"),
        ([*BOTH, "--picture-resolution", "1"], "--picture-resolution: 1"),
        ([*BOTH, "--precision", "0"], "--precision: '0'"),
        ([*BOTH, "--out", "/proc/nothing"], "--out: '/proc/nothing'"),
        ([*BOTH, "--out", "a_file/out"], "--out: "),
        ([*BOTH, "--split", "all"], "--split: 'all'"),
        ([*BOTH, "--data", "large.npz"], "PATH/old.pt: "),
        (["OLD", "NEW", *OWN, "--data", "large.npz"], "old: "),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments, start, files, here, capsys):
    (here / "a_file").touch()
    noise, labels = np.random.default_rng(0).integers(0, 255, (12, 9, 9), dtype=np.uint8), np.arange(12)
    np.savez("large.npz", images=noise, labels=labels % 10)
    names = {"OLD": "old.pt", "NEW": "new.pth", "THIRD": "third.safetensors"}
    words = [str(files / names[word]) if word in names else word for word in arguments]
    given = [] if "--data" in words else DIGITS
    assert main([*PLANES, *given, *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (error,) = [line for line in output.err.splitlines() if line.startswith("dbviz-ray score: ")]
    assert error.startswith(f"dbviz-ray score: {start.replace('PATH', str(files))}")
    assert not (here / "comparison").exists()

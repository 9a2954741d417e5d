"""Files and run directories of somebody who means harm: refused with one line, or harmless; nothing is executed."""

import json
import os
import pickle
import shutil
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import yaml
from conftest import small_sweep
from PIL import Image
from support.checkpoint_kinds import Made

from dbviz_ray import score, sweep
from dbviz_ray.analysis.tables import read_table
from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ModelConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.evaluation.records import load_config, load_network
from dbviz_ray.evaluation.run_models import find_run_model
from dbviz_ray.store import Store

PLANES = ["--planes", "4", "--resolution", "5", "--device", "cpu"]


def payload(marker):
    return Made(os.system, f"touch {marker}")


@pytest.fixture
def marker(here):
    """A file that every payload would create; it must not be there at the end."""
    yield here / "executed"
    assert not (here / "executed").exists()


@pytest.fixture
def run(copied_run):
    """A run that may be spoiled, and two of its models."""
    store, sweep = copied_run
    return store, sweep.models()[:2]


def folders(run):
    store, models = run
    return [store.path(f"models/{model.model_id}") for model in models]


def refusals(command, arguments, capsys):
    """The lines that a command ends with, one for each mistake."""
    assert command.main([str(word) for word in arguments]) in (1, 2)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert len(printed.err) < 100_000
    assert all(char.isprintable() or char == "\n" for char in printed.out + printed.err), "no escape sequences"
    return [line for line in printed.err.splitlines() if line.startswith("dbviz-ray ")]


def refused(command, arguments, capsys):
    (line,) = refusals(command, arguments, capsys)
    return line


def tensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps({"a": header}).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_hostile_weights(run, digits, marker, capsys):
    store, models = run
    of_run = store.model_file(models[0].model_id, "weights.safetensors")
    wider = initialised_network("fully_connected", 8, digits.image_shape, 10, seed=0, options={})
    words = ["a.safetensors", "b.safetensors", "--model", "fully_connected", "--width", "4", "--data", "digits"]
    contents = {
        "pickle": pickle.dumps(payload(marker)),
        "empty": b"",
        "endless header": tensors(b"{}", length=2**63),
        "deep header": tensors(b'{"a":' * 100_000),
        "beyond the file": tensors({"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}),
        "overflowing size": tensors({"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}, bytes(4)),
        "overflowing strides": tensors({"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}),
        "unknown type": tensors({"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}, bytes(4)),
        "other names": tensors({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, bytes(4)),
        "other shapes": safetensors.torch.save(wider.state_dict()),
    }
    for what, content in contents.items():
        for file in (store.path(of_run), "a.safetensors", "b.safetensors"):
            Path(file).write_bytes(content)
        with pytest.raises(DamagedFileError) as raised:
            load_network(store, models[0], digits.image_shape, 10)
        assert raised.value.name == of_run
        assert of_run in refused(score, [*folders(run), *PLANES], capsys), what
        assert "a.safetensors: " in refused(score, [*words, *PLANES], capsys), what


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
BOMB += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
"""9 to the 12th words when written out."""
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1}, ' * 9}]}}\n" for n in range(1, 12))


def hostile_yaml(marker):
    applied = f"!!python/object/apply:os.system ['touch {marker}']", f"!!python/object/new:os.system [touch {marker}]"
    return [*applied, "!!python/name:os.system", "!!python/module:os", "[" * 100_000, "\x1b[2J"]


def test_hostile_sweeps(marker, capsys):
    for text in hostile_yaml(marker):
        Path("sweep.yaml").write_text(f"grid: {text}\n")
        assert "sweep.yaml: " in refused(sweep, ["sweep.yaml", "--plan"], capsys)
        for field in ("grid", "dataset.folder"):
            line = refused(sweep, [f"{field}={text}", "--plan"], capsys)
            assert line.startswith(f"dbviz-ray sweep: {field}: ")
            assert len(line) < 1000
    for bomb in (BOMB + "grid: {width: *a11}\n", MERGED):
        Path("sweep.yaml").write_text(bomb)
        assert refusals(sweep, ["sweep.yaml", "--plan"], capsys)
    refused(sweep, ["a\x1b[2J.yaml", "--plan"], capsys)


def test_a_hostile_sweep_file_in_a_run_directory(run, marker, capsys):
    store, _ = run
    damaged = ["", "- 1", "name: [", "42"]
    escapes = ["{name: !!str '\x85\\e[2J'}", '{name: "\\e[2J"}']
    for text in [*hostile_yaml(marker), *escapes, *damaged, BOMB, BOMB + "name: *a11"]:
        store.write("sweep.yaml", text.encode())
        line = refused(sweep, ["double_descent_digits", "--out", store.root], capsys)
        assert line.startswith("dbviz-ray sweep: --out: ")
        assert find_run_model(folders(run)[0]).data_directory == "~/.cache/dbviz_ray"


def test_where_a_run_says_that_its_data_are(run, marker):
    store, _ = run
    here = str(marker.parent)
    for named in (here, f"{here}/absent", [1], "~nobody-there/x"):
        store.write("sweep.yaml", yaml.safe_dump({"resources": {"data_directory": named}}).encode())
        used = here if named == here else "~/.cache/dbviz_ray"
        assert find_run_model(folders(run)[0]).data_directory == used


def test_hostile_tables(tmp_path, marker, monkeypatch):
    """Schema metadata that some reader, of some version, would execute or stumble over, and what is no table."""
    code = f"__import__('os').system('touch {marker}')"
    column = {"name": "a", "field_name": "a", "pandas_type": "object", "numpy_type": code, "metadata": None}
    described = {"index_columns": [code], "columns": [column], "column_indexes": [column]}
    pickled = {"name": "arrow.py_extension_type", "metadata": pickle.dumps(payload(marker))}
    pickled = {f"ARROW:extension:{key}": value for key, value in pickled.items()}
    store = Store(tmp_path / "run")
    file = Path(store.path(store.scores_file("groups")))
    file.parent.mkdir(parents=True)

    def write(field=None, **metadata):
        schema = pa.schema([pa.field("a", pa.int64(), metadata=field)], metadata=metadata)
        pq.write_table(pa.table([pa.array([1, 2])], schema=schema), file)

    for metadata in ({"field": pickled}, {"pandas": json.dumps(described)}, {"pandas": b"{"}):
        write(**metadata)
        assert read_table(store, "groups").to_dict("list") == {"a": [1, 2]}
    pq.write_table(pa.table({"a": [0] * 10**6}), file)
    monkeypatch.setattr("dbviz_ray.store.files.MOST_BYTES", 10**6)
    monkeypatch.setattr("dbviz_ray.store.files.MOST_TIMES", 10)
    with pytest.raises(DamagedFileError, match="asks for 1,000,000 rows"):
        read_table(store, "groups")
    for facts in (b"[1]", b"{", b"[" * 100_000):
        write(dbviz=facts)
        with pytest.raises(DamagedFileError):
            read_table(store, "groups")
    for content in (b"", b"PAR1", b"PAR1" * 3, b"garbage" * 50, pickle.dumps(payload(marker))):
        file.write_bytes(content)
        with pytest.raises(DamagedFileError):
            read_table(store, "groups")


def changed(store, model, **fields):
    """Other fields in the configuration that a model.json holds."""
    file = store.model_file(model.model_id, "model.json")
    facts = json.loads(store.read(file))  # of another model, if it was copied
    facts["config"] |= fields
    store.write_json(file, facts | {"model_id": model.model_id})


def test_code_that_a_run_names_is_not_imported(run, marker, monkeypatch, capsys):
    """Code that is on every machine and runs what lies beside it, and a package of the run's own."""
    store, models = run
    hostile = ("hub", "hubconf.py"), ("hostile_package", "__init__.py"), ("hostile_package", "networks.py")
    for folder, file in hostile:
        Path(folder).mkdir(exist_ok=True)
        Path(folder, file).write_text(f"import os\nos.system('touch {marker}')\n")
    monkeypatch.syspath_prepend(marker.parent)
    code = "hostile_package.networks:make"
    hub = {"repo_or_dir": str(Path("hub").absolute()), "model": "net", "source": "local"}
    for named, fields in (
        ("torch.hub:load", {"architecture": "torch.hub:load", "options": hub}),
        (code, {"architecture": code, "options": {}}),
        (code, {"dataset": {"name": code}}),
        (code, {"training": {"distillation": {"recipe": "a", "architecture": code}}}),
    ):
        changed(store, models[0], **fields)
        assert named in refused(score, [*folders(run), *PLANES], capsys)
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
    assert refusals(score, [*folders(run), *PLANES], capsys)
    with pytest.raises(DamagedFileError):
        load_config(store, models[0].model_id)


def test_a_model_json_that_is_none(run, marker, capsys):
    store, models = run
    for content in (b"", b"[" * 100_000, b"[]", b"{}", b'{"outcome": "done", "config": [1]}', b"\xff\xfe", b"null"):
        Path(folders(run)[0], "model.json").write_bytes(content)
        assert models[0].model_id in refused(score, [*folders(run), *PLANES], capsys) or content.endswith(b"[1]}")
        with pytest.raises(DamagedFileError):
            load_config(store, models[0].model_id)


def test_hostile_names(run, marker, capsys):
    store, _ = run
    model, other = folders(run)
    for name in ("a\nb", "a\x1b]0;title\x07", ".."):
        there = f"{store.root}/models/{name}"
        if name != "..":
            shutil.copytree(model, there)
        refused(score, [there, other, *PLANES], capsys)
    for epoch in ("9" * 200, "1" * 9, "\N{ARABIC-INDIC DIGIT ONE}"):
        refused(score, [f"{other}/snapshots/epoch={epoch}", other, *PLANES], capsys)
    with pytest.raises(UserError):
        store.read_predictions("../../elsewhere")


def test_a_link_is_followed_to_read_and_never_to_delete(run, digits, marker):
    store, models = run
    folder, elsewhere = Path(folders(run)[0]), Path("elsewhere").absolute()
    shutil.move(folder, elsewhere)
    folder.symlink_to(elsewhere)
    load_network(store, models[0], digits.image_shape, 10)
    assert find_run_model(str(folder)).config == models[0]
    store.remove_folder(f"models/{models[0].model_id}")
    assert not folder.exists()
    Path(store.path("cohorts")).mkdir()
    Path(store.path("cohorts/link")).symlink_to(elsewhere)
    store.remove_folder("cohorts")
    assert (elsewhere / "weights.safetensors").exists()


def test_hostile_names_of_images(tmp_path, marker):
    for split in ("train", "test"):
        for name in ("a\x1b[2J", "b\nc"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / name / "0.png")
    (tmp_path / "train" / "b\nc" / "\x1b[2J.png").write_bytes(pickle.dumps(payload(marker)))
    config = small_sweep(dataset={"name": "image_folder", "folder": str(tmp_path)}).dataset
    with pytest.raises(UserError) as raised:
        load_dataset(config, "unused")
    assert "\x1b" not in str(raised.value)

"""Files that somebody has made to do harm: refused with one line, or harmless; nothing in them is executed."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from support.hostile import PLANES, Payload, folders, refused

from dbviz_ray import score, sweep
from dbviz_ray.analysis.tables import read_table
from dbviz_ray.errors import DamagedFileError
from dbviz_ray.evaluation.records import load_network
from dbviz_ray.evaluation.run_models import find_run_model
from dbviz_ray.store import Store

pytest_plugins = ["support.hostile"]


def test_the_payloads_work(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


# ---- weights


def tensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps({"a": header}).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def hostile_weights(marker):
    return {
        "pickle": pickle.dumps(Payload(marker)),
        "empty": b"",
        "endless header": tensors(b"{}", length=2**63),
        "deep header": tensors(b'{"a":' * 100_000),
        "beyond the file": tensors({"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}),
        "overflowing size": tensors({"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}, bytes(4)),
        "overflowing strides": tensors({"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}),
        "unknown type": tensors({"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}, bytes(4)),
        "other names": tensors({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, bytes(4)),
    }


def test_hostile_weights_of_a_run(run, digits, marker, capsys):
    store, models = run
    file = store.model_file(models[0].model_id, "weights.safetensors")
    for what, content in hostile_weights(marker).items():
        (store_file := marker.parent / "run" / file).write_bytes(content)
        with pytest.raises(DamagedFileError, match="damaged"):
            load_network(store, models[0], digits.image_shape, 10)
        line = refused(score, [*folders(run), *PLANES], capsys)
        assert str(store_file) in line, what


def test_hostile_weight_files(marker, capsys):
    for what, content in hostile_weights(marker).items():
        for name in ("a.safetensors", "b.safetensors"):
            (marker.parent / name).write_bytes(content)
        words = ["a.safetensors", "b.safetensors", "--model", "fully_connected", "--width", "4", "--data", "digits"]
        assert "a.safetensors: " in refused(score, [*words, *PLANES], capsys), what
    torch.save({"state_dict": Payload(marker)}, "a.pt")
    (marker.parent / "b.pt").write_bytes(pickle.dumps(Payload(marker)))
    for name in ("a.pt", "b.pt"):
        words = [name, name, "--model", "fully_connected", "--data", "digits"]
        assert f"{name}: refused" in refused(score, [*words, *PLANES], capsys)


def test_hostile_arrays(marker, run, capsys):
    np.savez("images.npz", images=np.array([Payload(marker)] * 3), labels=np.arange(3))
    assert "images.npz" in refused(score, [*folders(run), *PLANES, "--data", "images.npz"], capsys)


# ---- YAML

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
"""9 to the 12th words when written out."""


def hostile_yaml(marker):
    return [
        f"!!python/object/apply:os.system ['touch {marker}']",
        f"!!python/object/new:os.system [touch {marker}]",
        "!!python/name:os.system",
        "!!python/module:os",
        "[" * 100_000,
        "\x1b[2J",
    ]


def test_hostile_sweeps(marker, capsys):
    for text in hostile_yaml(marker):
        (marker.parent / "sweep.yaml").write_text(f"grid: {text}\n")
        assert "sweep.yaml: is not readable as YAML" in refused(sweep, ["sweep.yaml", "--plan"], capsys)
        for field in ("grid", "dataset.folder"):
            line = refused(sweep, [f"{field}={text}", "--plan"], capsys)
            assert line.startswith(f"dbviz-ray sweep: {field}: ")
            assert len(line) < 1000
    (marker.parent / "sweep.yaml").write_text(BOMB + "grid: {width: *a11}\n")
    assert main_errors(sweep, ["sweep.yaml", "--plan"], capsys) < 100_000
    assert "cannot be read as a sweep" in refused(sweep, ["a\x1b[2J.yaml", "--plan"], capsys)


def main_errors(command, arguments, capsys):
    """How much a command that is refused prints."""
    assert command.main(arguments) == 2
    return len(capsys.readouterr().err)


def test_a_hostile_sweep_file_in_a_run_directory(run, marker, capsys):
    store, _ = run
    for text in [*hostile_yaml(marker), "{name: !!str '\x85\\e[2J'}", '{name: "\\e[2J"}', BOMB, BOMB + "name: *a11"]:
        (marker.parent / "run" / "sweep.yaml").write_text(text)
        line = refused(sweep, ["double_descent_digits", "--out", store.root], capsys)
        assert line.startswith("dbviz-ray sweep: --out: ")
        assert find_run_model(folders(run)[0]).data_directory == "~/.cache/dbviz_ray"


def test_where_a_run_says_that_its_data_are(run, marker):
    store, _ = run
    for named, used in ((str(marker.parent / "absent"), "~/.cache/dbviz_ray"), (str(marker.parent), str(marker.parent)),
                        ([1], "~/.cache/dbviz_ray"), ("~nobody-there/x", "~/.cache/dbviz_ray")):  # fmt: skip
        store.write("sweep.yaml", yaml.safe_dump({"resources": {"data_directory": named}}).encode())
        assert find_run_model(folders(run)[0]).data_directory == used


# ---- Parquet


def hostile_tables(marker):
    """Schema metadata that some reader, of some version, would execute or stumble over."""
    code = f"__import__('os').system('touch {marker}')"
    column = {"name": "a", "field_name": "a", "pandas_type": "object", "numpy_type": code, "metadata": None}
    described = {"index_columns": [code], "columns": [column], "column_indexes": [column]}
    extension = {
        "ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(Payload(marker)),
    }  # fmt: skip
    return {
        "pickled type": pa.schema([pa.field("a", pa.int64(), metadata=extension)]),
        "pandas": pa.schema([("a", pa.int64())], metadata={"pandas": json.dumps(described)}),
        "no JSON": pa.schema([("a", pa.int64())], metadata={"pandas": b"{"}),
    }


def test_hostile_tables(tmp_path, marker):
    store = Store(tmp_path / "run")
    file = tmp_path / "run" / store.scores_file("groups")
    file.parent.mkdir(parents=True)
    for schema in hostile_tables(marker).values():
        pq.write_table(pa.table([pa.array([1, 2])], schema=schema), file)
        assert read_table(store, "groups").to_dict("list") == {"a": [1, 2]}
    for facts in (b"[1]", b"{", b"[" * 100_000):
        schema = pa.schema([("a", pa.int64())], metadata={"dbviz": facts})
        pq.write_table(pa.table([pa.array([1, 2])], schema=schema), file)
        with pytest.raises(DamagedFileError):
            read_table(store, "groups")
    for content in (b"", b"PAR1", b"PAR1" * 3, b"garbage" * 50, pickle.dumps(Payload(marker))):
        file.write_bytes(content)
        with pytest.raises(DamagedFileError, match="damaged"):
            read_table(store, "groups")

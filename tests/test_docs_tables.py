"""The pages docs/tables*.md name every column of every file, with its type."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import small_sweep
from support.documents import ROOT
from support.made_up_runs import CASES, CROSSED, RECIPES, made_up_run

from dbviz_ray.analysis.scores.groups import GROUP
from dbviz_ray.analysis.tables import compute_tables
from dbviz_ray.store import Picture, Store

PAGE = "\n".join(page.read_text() for page in sorted((ROOT / "docs").glob("tables*.md")))
SECTIONS = {
    title.replace("&lt;", "<").replace("&gt;", ">"): text
    for title, text in re.findall(r"^### (.*)\n((?:(?!^##).*\n)*)", PAGE, flags=re.MULTILINE)
}
GROUP_TABLE = PAGE[PAGE.index("| group |") : PAGE.index("Types are Arrow's")]

pytestmark = pytest.mark.slow
WORDS = {"string": "text", "large_string": "text", "double": "float64", "float": "float32", "halffloat": "float16"}


def documented(text: str) -> dict[str, str]:
    """Name and type of every column in a section's table."""
    columns: dict[str, str] = {}
    for first, kind in re.findall(r"^\|([^|]*)\|([^|]*)\|", text, flags=re.MULTILINE):
        if first.strip() == "*group*":
            columns |= documented(GROUP_TABLE)
        for name, interval in re.findall(r"`([^`]+)`( ±)?", first):
            columns |= {f"{name}{end}": kind.strip() for end in ("", *(("_low", "_high") if interval else ()))}
    return columns


def words(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return words(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"{words(kind.value_type)} list"
    return WORDS.get(str(kind), str(kind))


def columns_of(schema: pa.Schema) -> dict[str, str]:
    return {field.name: words(field.type) for field in schema}


def test_every_table_and_file_has_a_section_and_every_table_these_columns(undisturbed, tmp_path):
    """Those of a real run, or of a made-up one if it has no such rows."""
    files = (undisturbed[0] / "scores").glob("*.parquet")
    found = {file.stem: columns_of(pq.read_schema(file)) for file in files if pq.read_metadata(file).num_rows}
    streams, widths = small_sweep(grid=CROSSED), small_sweep(grid={"width": [2, 4, 8, 16], "seed": [0, 1, 2]})
    fine = small_sweep(planes={"test": {"count": 3, "resolution": 51}})
    recipes = {**RECIPES, "distilled": {"distillation": {"recipe": "Adam"}}}
    lessons = small_sweep(grid={"recipes": recipes, "seed": [0, 1, 2]}, cases=CASES)
    made = (streams, "streams"), (widths, "peaks"), (fine, "resolution"), (lessons, "by_recipe", "distillation")
    for sweep, *names in made:
        computed = compute_tables(made_up_run(tmp_path / names[0], sweep), sweep)
        for name in names:
            assert len(computed[name])
            found[name] = columns_of(pa.Schema.from_pandas(computed[name], preserve_index=False))
    assert SECTIONS.keys() == FILES.keys() | {f"scores/{name}" for name in found}
    assert {name: documented(SECTIONS[f"scores/{name}"]) for name in found} == found
    assert list(documented(GROUP_TABLE)) == GROUP


FILES = {
    "models/<model_id>/history.parquet": "models/*/history.parquet",
    "models/<model_id>/predictions.parquet": "models/*/predictions.parquet",
    "planes/<plane_set>.parquet": "planes/*.parquet",
    "labels/plane_set=<..>/model_id=<..>/epoch=<..>/labels.parquet": "labels/*/*/*/labels.parquet",
    "probabilities/plane_set=<..>/model_id=<..>/epoch=<..>/probabilities.parquet": "probabilities/*/*/*/*.parquet",
    "margins/model_id=<..>/epoch=<..>/margins.parquet": "margins/*/*/margins.parquet",
    "pictures/plane_set=<..>/model_id=<..>/epoch=<..>/plane=<..>/picture.parquet": "pictures/*/*/*/*/picture.parquet",
}


@pytest.mark.parametrize("title", FILES)
def test_the_columns_of_a_file(title, undisturbed, made_up, tmp_path):
    run = Path(made_up[0].root) if "probabilities" in title else undisturbed[0]
    file = sorted(run.glob(FILES[title]))[0]
    real = columns_of(pq.read_schema(file))
    if "pictures" in title:  # confidence is there with probabilities alone
        store = Store(tmp_path)
        store.write_picture("test", "model", 1, 0, Picture(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.float16)))
        real["confidence"] = columns_of(pq.read_schema(next(tmp_path.rglob("picture.parquet"))))["confidence"]
    assert documented(SECTIONS[title]) == real


def test_every_file_of_a_run_is_listed(undisturbed):
    first_column = re.findall(r"^\|([^|]*)\|", PAGE[: PAGE.index("## Reading it")], re.MULTILINE)
    told = re.findall(r"`([^`]+)`", "".join(first_column))
    patterns = [re.sub(r"<[^>]*>", "[^/]+", name.replace(".", r"\.")) + ".*" * name.endswith("/") for name in told]
    files = [str(path.relative_to(undisturbed[0])) for path in undisturbed[0].rglob("[!.]*") if path.is_file()]
    assert len(files) > 50
    assert not [file for file in files if not any(re.fullmatch(pattern, file) for pattern in patterns)]

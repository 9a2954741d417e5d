"""The command that compares predictions: its files, its report, and how little it imports."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.html_pages import Page

from dbviz_ray.__main__ import main

COUNT = 300


@pytest.fixture
def files(here):
    """Three models' predictions, the second with names that a terminal or a spreadsheet would obey."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, COUNT)
    for name in ("old", "=new", "third"):
        predicted = np.where(generator.random(COUNT) < 0.2, generator.integers(0, 4, COUNT), truth)
        content = {"id": [f"=1+{k}" for k in range(COUNT)], "label": truth, "prediction": predicted, "city": truth % 2}
        pd.DataFrame(content).to_csv(f"{name}.csv", index=False)
    return here / "compared"


@pytest.mark.parametrize("models", [2, 3])
def test_a_comparison_of_predictions_writes_the_same_numbers_everywhere(models, files, capsys):
    names = ["old", "=new", "third"][:models]
    shades = np.arange(COUNT // 2, dtype=float)[:, None, None] * np.ones((1, 4, 4))
    np.savez("pictures.npz", images=shades, id=[f"=1+{k}" for k in range(COUNT // 2)])
    words = ["--group", "city", "--images", "pictures.npz"]
    assert main(["compare", *(f"{name}.csv" for name in names), *words]) == 0
    printed = capsys.readouterr().out
    result = json.loads((files / "comparison.json").read_text())
    pairs = pd.read_csv(files / "pairs.csv")
    assert len(pairs) == len(result["pairs"]) == models * (models - 1) // 2
    assert pairs["new"][0] == "'=new"
    items = pq.read_table(files / "items.parquet").to_pandas()
    differ = (items["prediction old"] != items["prediction =new"]).mean()
    assert pairs["churn"][0] == pytest.approx(differ)
    assert result["contested"] == pytest.approx((items["conflict_ratio"] > 0).mean())
    groups = pd.read_csv(files / "groups.csv")
    assert groups.groupby("column")["items"].sum().to_dict() == {"city": COUNT, "label": COUNT}
    page = Page((files / "report.html").read_text())
    assert not {"link", "iframe", "object"} & set(page.tags)
    shown = ((items["conflict_ratio"] > 0) & (items.index < COUNT // 2)).sum()
    assert shown < page.tags.count("img") <= shown + 12, "in the table, and the first of them above"
    for words in (printed, page.text):
        assert f"{100 * differ:.2f}% [{100 * pairs['churn_low'][0]:.2f}, {100 * pairs['churn_high'][0]:.2f}]" in words
    assert page.tags.count("tr") >= (items["conflict_ratio"] > 0).sum()
    assert main(["compare", "old.csv", "old.csv", "--name", "a", "--name", "b"]) == 0, "over an earlier one"
    assert "the same class for every one of the 300 items" in capsys.readouterr().out
    (files / "comparison.json").write_text("{}")
    assert main(["compare", "old.csv", "=new.csv"]) == 2, "not over anything else"


def test_the_command_imports_neither_torch_nor_ray_nor_mlflow(files):
    check = "import sys; from dbviz_ray.__main__ import main; code = main(['compare', 'old.csv', 'third.csv'])\n"
    check += "print(code, {'torch', 'ray', 'mlflow', 'matplotlib', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"

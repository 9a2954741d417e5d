"""Verdicts are right as often as they say: on limits, and on the noise floor of a recipe."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import cohen_kappa_score
from support.documents import ROOT

from dbviz_ray.__main__ import main
from dbviz_ray.analysis.predictions.comparison import compared
from dbviz_ray.analysis.predictions.matching import Predictions
from dbviz_ray.analysis.predictions.verdicts import MEASURES, Changes, Verdict, check, check_noise_floor
from dbviz_ray.analysis.scores.agreement import agreement

PASS, FAIL, UNDECIDED = Verdict
FLIPS = Changes(items=10_000, changed=612, wins=180, losses=249)


@pytest.mark.parametrize(
    ("field", "limit", "verdict"),
    [
        ("max_negative_flips", 0.02, FAIL),
        ("max_negative_flips", 0.025, UNDECIDED),
        ("max_negative_flips", 0.03, PASS),
        ("max_churn", 0.06, UNDECIDED),
        ("min_agreement", 0.93, PASS),
        ("min_agreement", 0.95, FAIL),
        ("max_accuracy_drop", 0.0, FAIL),
        ("max_accuracy_drop", 0.02, PASS),
    ],
)
def test_a_limit_passes_or_fails_where_the_whole_interval_does(field, limit, verdict):
    found = check(field, limit, FLIPS)
    assert found.verdict is verdict
    assert (found.value.low <= limit <= found.value.high) == (verdict is UNDECIDED)


def test_the_number_of_items_that_decide_is_the_smallest():
    found = check("max_negative_flips", 0.026, FLIPS)
    assert found.verdict is UNDECIDED
    for items, verdict in ((found.needed, PASS), (found.needed - 1, UNDECIDED)):
        assert check("max_negative_flips", 0.026, FLIPS.times(items / FLIPS.items)).verdict is verdict
    assert check("max_churn", 0.0612, FLIPS).needed is None, "the share is the limit"


@given(st.integers(20, 3000), st.floats(0.001, 0.5))
def test_a_share_beyond_the_limit_passes_in_at_most_five_percent(items, limit):
    below = np.arange(int(limit * items))
    passes = [check("max_churn", limit, Changes(items, count)).verdict is PASS for count in below]
    assert binom.pmf(below, items, limit) @ passes <= 0.025 + 1e-9


def trainings(generator, count, *, falsified=0.0, items=2000):
    """Predictions of two classes: an item is decided by its hardness, a training's own taste, and luck."""
    hardness = np.linspace(-3, 3, items)
    tastes = generator.normal(size=(count, 1)) * 0.2 + 1.5 * falsified
    return (hardness + tastes + generator.normal(size=(count, items)) * 0.4 > 0).astype(np.uint8)


@pytest.mark.parametrize("reruns", [3, 5, 10])
def test_trainings_of_one_recipe_stay_below_its_noise_floor(reruns):
    generator = np.random.default_rng(reruns)

    def verdicts(falsified):
        for _ in range(400):
            models = np.concatenate([trainings(generator, reruns + 1), trainings(generator, 1, falsified=falsified)])
            differ = 1 - agreement(models[:, None])[0]
            changed = MEASURES["max_churn"].interval(Changes(2000, 2000 * differ[-1, -2]))
            yield check_noise_floor(differ[:reruns, :reruns], changed).verdict

    assert list(verdicts(0.0)).count(FAIL) <= 20
    assert list(verdicts(1.0)).count(FAIL) >= {3: 200, 5: 360, 10: 390}[reruns]
    two = check_noise_floor(np.zeros((2, 2)), MEASURES["max_churn"].interval(FLIPS))
    assert two.verdict is UNDECIDED
    same = check_noise_floor(np.zeros((3, 3)), MEASURES["max_churn"].interval(FLIPS))
    assert same.verdict is FAIL, "reruns never differ, the two do"


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=3, max_size=60))
def test_scores_equal_a_naive_computation(items):
    old, new, truth = np.array(items).T
    given = Predictions(("a", "b"), ("0", "1", "2"), None, np.stack([old, new]), truth, {}, (), ())
    scores = compared(given)
    (pair,) = scores.pairs
    assert pair.losses.value == pytest.approx(np.mean((old == truth) & (new != truth)))
    assert scores.agreement.value == pytest.approx(np.mean(old == new))
    assert scores.contested == pytest.approx(np.mean(old != new))
    if len(set(old) | set(new)) > 1:
        assert scores.kappas[0].value == pytest.approx(cohen_kappa_score(old, new))
    assert sum(part.items for part in scores.parts) == len(items)
    for part in scores.parts:
        own = truth == int(part.name)
        assert part.churn.value == pytest.approx(np.mean(old[own] != new[own]))
        assert part.wins.value == pytest.approx(np.mean((old[own] != truth[own]) & (new[own] == truth[own])))


@pytest.fixture
def files(here):
    """Predictions of five reruns, an old and a new model, and one of another recipe, in the present folder."""
    generator = np.random.default_rng(0)
    truth = (np.linspace(-3, 3, 2000) > 0).astype(int)
    models = [*trainings(generator, 7), *trainings(generator, 1, falsified=1.0)]
    (here / "reruns").mkdir()
    for name, of in zip(["old", "new", *(f"reruns/{k}" for k in range(5)), "other"], models, strict=True):
        pd.DataFrame({"id": range(2000), "label": truth, "prediction": of}).to_csv(f"{name}.csv", index=False)
    return here


def test_the_gate_answers_with_its_exit_code_and_files(files, capsys):
    assert main(["gate", "old.csv", "new.csv", "--max-churn", "40%", "--reruns", "reruns"]) == 0
    assert capsys.readouterr().out.startswith("PASS: new may replace old\n")
    (files / "limits.yaml").write_text("max_churn: 40%\nmin_agreement: 0.5\n")
    again = ["gate", "old.csv", "other.csv", "--limits", "limits.yaml", "--reruns", "reruns", "--max-churn", "39%"]
    assert main(again) == 1
    result = json.loads((files / "gate" / "verdict.json").read_text())
    limited = [(one["name"], one["verdict"], one["limit"]) for one in result["checks"][:2]]
    assert limited == [("churn", "PASS", 0.39), ("agreement", "PASS", 0.5)]
    assert result["checks"][2]["verdict"] == result["verdict"] == "FAIL"
    suite = ElementTree.parse(files / "gate" / "verdict.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    assert "| FAIL | noise floor |" in (files / "gate" / "verdict.md").read_text()
    churn = result["changes"]["changed"] / 2000
    assert main(["gate", "old.csv", "other.csv", "--max-churn", str(churn)]) == 3
    assert main(["gate", "old.csv", "other.csv", "--reruns", "old.csv", "new.csv"]) == 3, "two reruns tell too little"


def test_a_gate_that_cannot_be_asked_says_so(files, capsys):
    pd.read_csv("new.csv").drop(columns="label").to_csv("bare.csv", index=False)
    pd.read_csv("bare.csv").to_csv("bare_old.csv", index=False)
    (files / "limits.yaml").write_text("max_flips: 1%")
    (files / "empty").mkdir()
    for words in (
        ["old.csv", "new.csv"],
        ["old.csv", "new.csv", "other.csv", "--max-churn", "1%"],
        ["old.csv", "new.csv", "--max-churn", "5"],
        ["old.csv", "new.csv", "--limits", "limits.yaml"],
        ["old.csv", "new.csv", "--reruns", "empty"],
        ["bare_old.csv", "bare.csv", "--max-negative-flips", "1%"],
    ):
        assert main(["gate", *words]) == 2, words
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_pytest_has_a_fixture(files):
    (files / "test_release.py").write_text(
        "def test_it(prediction_gate):\n    prediction_gate('old.csv', 'new.csv', reruns=['reruns'], max_churn=0.4)\n\n"
        "def test_too_strict(prediction_gate):\n    prediction_gate('old.csv', 'new.csv', min_agreement=0.999)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=files).stdout
    assert "FAIL: new may not replace old" in told
    assert "1 failed, 1 passed" in told


@pytest.mark.parametrize(("limits", "verdict", "code"), [("--max-churn 40%", "PASS", 0), ("--max-churn 1%", "FAIL", 1)])
def test_the_action_for_github_writes_the_verdict_to_the_summary(limits, verdict, code, files):
    action = yaml.safe_load((ROOT / ".github" / "actions" / "gate" / "action.yml").read_text())
    workflow = (ROOT / ".github" / "workflows" / "gate.yml").read_text()
    call = yaml.load(workflow, yaml.BaseLoader)["on"]["workflow_call"]["inputs"]
    assert set(re.findall(r"inputs\.(\w+)", workflow)) == call.keys() >= action["inputs"].keys() - {"package"}
    step = next(step for step in action["runs"]["steps"] if step.get("id") == "gate")
    assert set(step["env"]) == {"OLD", "NEW", "LIMITS", "UNDECIDED"}
    given = {"OLD": "old.csv", "NEW": "new.csv", "LIMITS": limits, "UNDECIDED": "fail"}
    given |= {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]
    assert subprocess.run(command, env=os.environ | given | {"PATH": path}, cwd=files).returncode == code
    assert (files / "output").read_text() == f"verdict={verdict}\n"
    assert (files / "summary").read_text().startswith(f"**{verdict}: new may ")

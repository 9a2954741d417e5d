"""A fixture for pytest, which finds it wherever the package is installed.

def test_the_new_model_changes_little(prediction_gate):
    prediction_gate("predictions/old.csv", "predictions/new.csv", max_negative_flips=0.01)
"""

from collections.abc import Callable, Sequence

import pytest


@pytest.fixture
def prediction_gate() -> Callable[..., None]:
    """Fails the test unless the gate says PASS: `prediction_gate(old, new, reruns=[...], max_churn=0.05, ...)`."""

    def check(old: str, new: str, *, reruns: Sequence[str] = (), **limits: float) -> None:
        from dbviz_ray.analysis.predictions.gate import gate as decide  # not for every run of pytest
        from dbviz_ray.analysis.predictions.verdicts import Verdict

        found = decide(str(old), str(new), limits, list(map(str, reruns)))
        if found.verdict is not Verdict.PASS:
            pytest.fail(str(found), pytrace=False)

    return check

"""The experiment of a sweep on an MLflow server: what it is, and its prepared page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .tags import DESCRIPTION

KIND_TAG = "mlflow.experimentKind"
KIND = "custom_model_development"
"""So that pages show runs of trainings, and not what is of use for language models only."""


def experiment_of(client: Any, name: str, artifacts: Path | None) -> Any:
    """The experiment called `name`; made if there is none.

    Args:
        client: An MlflowClient.
        name: What it is called.
        artifacts: Where a new one keeps its artifacts; the server's own place if None.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.get_experiment(client.create_experiment(name, artifacts and artifacts.as_uri()))
        except MlflowException:  # another sweep, or a request of ours whose answer was lost, has just made it
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return experiment


def describe(client: Any, experiment: Any, note: str, view: tuple[str, str]) -> None:
    """Say what an experiment is, unless somebody has, and prepare its page.

    Args:
        client: An MlflowClient.
        experiment: One of its experiments.
        note: Markdown.
        view: Name and value of the tag that prepares the page.
    """
    wanted = {KIND_TAG: KIND, DESCRIPTION: note} | experiment.tags | dict([view])
    for name, value in wanted.items():
        if experiment.tags.get(name) != value:
            client.set_experiment_tag(experiment.experiment_id, name, value)

"""MLflow's model registry: what a gate says of a version is written to it, and its alias is moved or not."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dbviz_ray.errors import UserError, one_line

from .track import MLFLOW_ENVIRONMENT, unavailable_otherwise

ADDRESSES = ("models:/", "runs:/")
"""How names of registered models, and of models of a run, begin."""
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow says of a version or alias that it does not know."""
TAG = "dbviz.{}"
REPORT = "dbviz/verdict.md"


@dataclass(frozen=True)
class VersionVerdict:
    """What is written to a version."""

    verdict: str
    metrics: Mapping[str, float]
    digest: str
    """Of the files that were compared."""
    report: str
    """Markdown."""


def record(address: str, found: VersionVerdict, alias: str | None) -> str:
    """Write a verdict to the version `models:/NAME/VERSION` or `models:/NAME@ALIAS`; returns what was done.

    The alias moves last, in one step, and only if the verdict is PASS: whatever is interrupted, the same command does
    the rest. UserError if there is no such version, TrackingUnavailableError if MLflow cannot be used.
    """
    os.environ |= MLFLOW_ENVIRONMENT | os.environ
    from mlflow import MlflowClient, get_tracking_uri
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    with unavailable_otherwise(get_tracking_uri()):
        try:
            version = _version(client, address)
        except (MlflowException, ValueError) as error:
            if getattr(error, "error_code", ABSENT[0]) not in ABSENT:
                raise
            raise UserError("registered", address, reason=f"is no registered version ({one_line(error)})") from None
        name, number = version.name, version.version
        for key, value in {"verdict": found.verdict, "digest": found.digest}.items():
            client.set_model_version_tag(name, number, TAG.format(key), value)
        if version.run_id:
            model = {"model_id": version.model_id} if getattr(version, "model_id", None) else {}
            for key, number_of in found.metrics.items():
                client.log_metric(
                    version.run_id, TAG.format(key), number_of, dataset_name="predictions", dataset_digest=found.digest,
                    **model,
                )  # fmt: skip
            client.log_text(version.run_id, found.report, REPORT)
        if alias is None:
            return f"{name} version {number} has the tag {TAG.format('verdict')}: {found.verdict}"
        if found.verdict != "PASS":
            return f"the alias {alias} of {name} was not moved, since the verdict is {found.verdict}"
        client.set_registered_model_alias(name, alias, number)
        return f"the alias {alias} of {name} is now version {number}"


def _version(client: Any, address: str) -> Any:
    name = address.removeprefix(ADDRESSES[0])
    if name == address or not ("@" in name or "/" in name):
        raise ValueError("its name is models:/NAME/VERSION or models:/NAME@ALIAS")
    if "@" in name:
        return client.get_model_version_by_alias(*name.split("@", 1))
    return client.get_model_version(*name.rsplit("/", 1))

"""Versions, machines and time behind the models of a sweep, and the version behind its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import DamagedFileError
from dbviz_ray.formatting import bytes_text, duration_text, listed
from dbviz_ray.store import Store
from dbviz_ray.store.models import PACKAGES, provenance

from ..findings.curves import evenly

MAX_READ = 300
"""Most files `model.json` that are read, evenly spaced over the models."""
MAX_VALUES = 4
"""Most different values of one fact that are named."""
SOFTWARE = (*PACKAGES, "python")
VERSIONS = ("git_commit", "git_dirty", *SOFTWARE)
NAMES = {"git_commit": "git commit", "git_dirty": "changed since that commit"}


def model_facts(store: Store, sweep: SweepConfig) -> tuple[list[dict[str, Any]], int]:
    """The contents of `model.json` that were read, and the number of models in the sweep."""
    models = sweep.models()
    found = []
    for place in evenly(len(models), MAX_READ):
        try:
            found.append(store.read_json(store.model_file(models[place].model_id, "model.json")))
        except (FileNotFoundError, DamagedFileError):
            continue  # the model failed, or the next command makes it again
    return found, len(models)


def versions(facts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The commit and the software. A version that differs between models has its own line."""
    counted = {name: _counted(facts, name) for name in VERSIONS}
    alone = [name for name, values in counted.items() if len(values) > 1 or (values and name not in SOFTWARE)]
    common = [f"{name} {_values(facts, name)}" for name in SOFTWARE if len(counted[name]) == 1]
    lines = [(NAMES.get(name, name), _values(facts, name)) for name in alone]
    return [*lines, *([("software", ", ".join(common))] if common else [])]


def machines(facts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Devices, platforms and memory, if known."""
    told = [(name, text) for name in ("device", "platform") if (text := _values(facts, name))]
    memory = [fact["peak_memory_bytes"] for fact in facts if fact.get("peak_memory_bytes")]
    return [*told, *([("peak memory", f"{bytes_text(max(memory))} of one process")] if memory else [])]


def training_time(facts: Sequence[Mapping[str, Any]], models: int) -> str:
    """How long the sweep's `models` trainings took; "" unless it is known for all."""
    cohorts = {fact["cohort_id"]: fact["seconds"] for fact in facts if fact.get("seconds") and fact.get("cohort_id")}
    known = sum(fact.get("cohort_id") in cohorts for fact in facts)
    if not cohorts or known < models:
        return ""
    took = duration_text(sum(cohorts.values()))
    return f"{took} for {models:,} models in {len(cohorts):,} cohorts, added up; some may have run at the same time"


def mixed_versions(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The versions that differ between models."""
    return [NAMES.get(name, name) for name in VERSIONS if len(_counted(facts, name)) > 1]


def report_versions() -> list[tuple[str, str]]:
    """The time and the version that made this page."""
    made = provenance()
    commit = f", git commit {made['git_commit']}" if "git_commit" in made else ""
    changed = " with changes" if made.get("git_dirty") == "true" else ""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [("figures and report", f"{when}, dbviz-ray {made['dbviz-ray']}{commit}{changed}")]


def _counted(facts: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    return Counter(str(fact[name]) for fact in facts if fact.get(name) is not None)


def _values(facts: Sequence[Mapping[str, Any]], name: str) -> str:
    """The only value, or the most frequent ones with their numbers of models."""
    counted = _counted(facts, name).most_common()
    if len(counted) < 2:
        return "".join(value for value, _ in counted)
    return listed([f"{value} ({count:,} models)" for value, count in counted], MAX_VALUES)

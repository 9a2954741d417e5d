"""Where the models of a sweep come from: versions, machines, time; and what made the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import DamagedFileError
from dbviz_ray.formatting import bytes_text, duration_text
from dbviz_ray.store import Store
from dbviz_ray.store.layout import MODEL
from dbviz_ray.store.provenance import PACKAGES, provenance

from ..findings.curves import evenly

MAX_READ = 300
"""Models whose `model.json` is read; of more, evenly spaced ones."""
MAX_VALUES = 4
"""Different values of one fact that are named."""
SOFTWARE = (*PACKAGES, "python")
VERSIONS = ("git_commit", "git_dirty", *SOFTWARE)
MACHINE = ("device", "platform")
NAMES = {"git_commit": "git commit", "git_dirty": "changed since that commit"}


def model_facts(store: Store, sweep: SweepConfig) -> tuple[list[dict[str, Any]], int]:
    """What is noted with trained models, of as many as are read; and how many models the sweep has."""
    models = sweep.models()
    found = []
    for place in evenly(len(models), MAX_READ):
        try:
            found.append(store.read_json(store.model_file(models[place].model_id, MODEL)))
        except (FileNotFoundError, DamagedFileError):
            continue  # it failed, or is made again by the next command
    return found, len(models)


def versions(facts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The commit and versions of software; what differs has a line of its own that says how many models it made."""
    counted = {name: _counted(facts, name) for name in VERSIONS}
    common = [
        f"{name} {next(iter(values))}" for name, values in counted.items() if name in SOFTWARE and len(values) == 1
    ]
    lines = [(NAMES.get(name, name), _values(facts, name)) for name, values in counted.items()
             if len(values) > 1 or (values and name not in SOFTWARE)]  # fmt: skip
    return [*lines, *([("software", ", ".join(common))] if common else [])]


def machines(facts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Devices, platforms, memory and time, as far as they are known."""
    told = [(name, text) for name in MACHINE if (text := _values(facts, name))]
    memory = [fact["peak_memory_bytes"] for fact in facts if fact.get("peak_memory_bytes")]
    if memory:
        told.append(("peak memory", f"{bytes_text(max(memory))} of one process"))
    return told


def training_time(facts: Sequence[Mapping[str, Any]], models: int) -> str:
    """How long the trainings of a sweep of so many models took; empty if it is not known of all."""
    cohorts = {fact["cohort_id"]: fact["seconds"] for fact in facts if fact.get("seconds") and fact.get("cohort_id")}
    known = sum(fact.get("cohort_id") in cohorts for fact in facts)
    if not cohorts or known < models:
        return ""
    took = duration_text(sum(cohorts.values()))
    return f"{took} for {models:,} models in {len(cohorts):,} cohorts, added up; several may have run at a time"


def mixed_versions(facts: Sequence[Mapping[str, Any]]) -> str:
    """A warning if models were made by different versions; empty if they were not."""
    mixed = [NAMES.get(name, name) for name in VERSIONS if len(_counted(facts, name)) > 1]
    if not mixed:
        return ""
    return (
        f"The models were not all made by the same software: they differ in {', '.join(mixed)}. A difference between "
        "them may come from that too."
    )


def report_versions() -> list[tuple[str, str]]:
    """What made the scores' pictures and this page, and when."""
    made = provenance()
    commit = f", git commit {made['git_commit']}" if "git_commit" in made else ""
    changed = " with changes" if made.get("git_dirty") == "true" else ""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [("figures and report", f"{when}, dbviz-ray {made['dbviz-ray']}{commit}{changed}")]


def _counted(facts: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    return Counter(str(fact[name]) for fact in facts if fact.get(name) is not None)


def _values(facts: Sequence[Mapping[str, Any]], name: str) -> str:
    """The only value, or the most frequent ones and how many models have each."""
    counted = _counted(facts, name).most_common()
    if len(counted) < 2:
        return "".join(value for value, _ in counted)
    told = [f"{value} ({count:,} models)" for value, count in counted[:MAX_VALUES]]
    more = len(counted) - MAX_VALUES
    return ", ".join([*told, *([f"and {more:,} more"] if more > 0 else [])])

"""Facts for the report of a sweep: what it trains, and the versions, machines and time behind its models."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dbviz_ray.config import Seeds, SweepConfig
from dbviz_ray.errors import DamagedFileError
from dbviz_ray.formatting import bytes_text, duration_text, listed
from dbviz_ray.store import Store
from dbviz_ray.store.models import PACKAGES, provenance

from ..findings.curves import evenly
from ..findings.sentences import STREAM_NAMES
from ..scores.groups import group_of, options_text

MAX_NAMED = 30
"""Most values of one setting that are named."""
MAX_READ = 300
"""Most files `model.json` that are read, evenly spaced over the models."""
MAX_VALUES = 4
"""Most different values of one fact that are named."""
SOFTWARE = (*PACKAGES, "python")
VERSIONS = {"git_commit": "git commit", "git_dirty": "changed since that commit"} | {name: name for name in SOFTWARE}
MACHINE = ("device", "platform")
NOTED = (*MACHINE, *VERSIONS)
"""What `model.json` notes of where a model was trained."""
Pairs = list[tuple[str, str]]
"""Names and values."""


@dataclass(frozen=True)
class Trainings:
    """How often a sweep trains what."""

    kinds: int
    """Trainings of one kind differ only in their seeds."""
    fewest: int
    """The fewest of one kind, and the most."""
    most: int
    changed: list[str]
    """The random streams that change between trainings, in words."""
    same: list[str]
    """Those in use that stay the same."""


def trainings(sweep: SweepConfig) -> Trainings:
    """What the sweep trains and compares."""
    models = sweep.models()
    counts = Counter(tuple(group_of(model, 0).values()) for model in models).values()
    used = {"init", "order"}
    if any(model.training.augmentation != "none" or model.training.mixing != "none" for model in models):
        used.add("augmentation")
    if any(model.label_noise for model in models):
        used.add("label_noise")
    if any(model.seeds.train_set is not None for model in models):
        used.add("train_set")
    names = STREAM_NAMES | {"label_noise": "mislabelled images"}
    seeds = {stream: len({getattr(model.seeds, stream) for model in models}) for stream in Seeds.model_fields}
    changed, same = ([names[of] for of in seeds if of in used and (seeds[of] > 1) == apart] for apart in (True, False))
    return Trainings(len(counts), min(counts), max(counts), changed, same)


def varied(sweep: SweepConfig) -> Pairs:
    """The values of each setting of the models, in order of appearance."""
    models = sweep.models()
    columns: dict[str, Iterable[object]] = {
        "networks": (
            f"{model.architecture} ({options_text(model.options)})" if model.options else model.architecture
            for model in models
        ),
        "width": (model.width for model in models),
        "label noise": (f"{model.label_noise:g}" for model in models),
        "recipe": (model.recipe for model in models),
        "learning rate": (f"{model.training.learning_rate:g}" for model in models),
        "epochs looked at": (epoch for model in models for epoch in model.training.kept_epochs),
    }
    told = [(name, listed(list(dict.fromkeys(map(str, values))), MAX_NAMED)) for name, values in columns.items()]
    return [line for line in told if line != ("recipe", "default")]


def origin(store: Store, sweep: SweepConfig) -> tuple[Pairs, list[str]]:
    """Time, machines and versions; and the versions that differ between models."""
    models, facts = sweep.models(), list(noted_facts(store, sweep).values())
    noted = {name: Counter(str(fact[name]) for fact in facts if fact.get(name) is not None) for name in NOTED}
    told = [*_time(facts, len(models)), *((name, _values(noted[name])) for name in MACHINE if noted[name])]
    memory = [fact["peak_memory_bytes"] for fact in facts if fact.get("peak_memory_bytes")]
    if memory:
        told.append(("peak memory", f"{bytes_text(max(memory))} of one process"))
    common = [name for name in SOFTWARE if len(noted[name]) == 1]  # what differs between models has its own line
    told += [(called, _values(noted[name])) for name, called in VERSIONS.items() if noted[name] and name not in common]
    if common:
        told.append(("software", ", ".join(f"{name} {_values(noted[name])}" for name in common)))
    here = provenance()
    commit = f", git commit {here['git_commit']}" if "git_commit" in here else ""
    changed = " with changes" if here.get("git_dirty") == "true" else ""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    told.append(("figures and report", f"{when}, dbviz-ray {here['dbviz-ray']}{commit}{changed}"))
    if 0 < len(facts) < len(models):
        told.append(("noted with", f"{len(facts):,} of {len(models):,} models"))
    return told, [called for name, called in VERSIONS.items() if len(noted[name]) > 1]


def noted_facts(store: Store, sweep: SweepConfig) -> dict[str, dict[str, Any]]:
    """What `model.json` notes, by model_id: of all models, or of `MAX_READ` evenly spaced ones."""
    models, facts = sweep.models(), {}
    for place in evenly(len(models), MAX_READ):
        model_id = models[place].model_id
        with suppress(FileNotFoundError, DamagedFileError):  # it failed, or the next command makes it again
            facts[model_id] = store.read_json(store.model_file(model_id, "model.json"))
    return facts


def _time(facts: Sequence[Mapping[str, Any]], models: int) -> Pairs:
    """How long the trainings took, if it is known for all `models`."""
    cohorts = {fact["cohort_id"]: fact["seconds"] for fact in facts if fact.get("seconds") and fact.get("cohort_id")}
    known = sum(fact.get("cohort_id") in cohorts for fact in facts)
    if not cohorts or known < models:
        return []
    took = f"{duration_text(sum(cohorts.values()))} for {models:,} models in {len(cohorts):,} cohorts"
    return [("training took", f"{took}, added up; some may have run at the same time")]


def _values(noted: Counter[str]) -> str:
    """The only value, or the most frequent ones with their numbers of models."""
    if len(noted) == 1:
        return next(iter(noted))
    return listed([f"{value} ({count:,} models)" for value, count in noted.most_common()], MAX_VALUES)

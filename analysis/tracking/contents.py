"""Everything that is logged of a sweep. It is read from the store before a server is contacted."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dbviz_ray.config import Seeds, SweepConfig, fingerprint
from dbviz_ray.formatting import listed
from dbviz_ray.store import FINDINGS_FILE, REPORT_FILE, SWEEP_FILE, Store, layout
from dbviz_ray.store.models import Outcome, provenance

from ..figures import figures_of
from ..findings import read_findings
from ..findings.curves import EPOCH, WIDTH, Curve, curves, evenly
from ..report.facts import noted_facts
from ..scores.groups import GROUP, KIND, NAMING, first_planes_at_last_epoch, names_of, records
from ..tables import read_table, tables_of
from ..tables.outcomes import LEFT_OUT

Metric = tuple[str, float, int]
"""Name, value and step."""
Span = tuple[float, float]
"""A beginning and an end, in seconds since 1970."""
Facts = Mapping[str, Mapping[str, Any]]
"""What `model.json` notes, by model_id."""

SWEEP = "sweep"
"""The name of the top run."""
MAX_MODELS, MAX_EPOCHS, MAX_VALUES = 200, 40, 30
"""Models that get a run each, if a sweep has no more; epochs of a history; values of a parameter."""
HISTORY = ("train_error", "test_error", "train_loss", "test_loss")
FINAL = ("test_error", "train_error", "fragmentation", "largest_region", "margin", "sharpness")
"""Columns of the table `models` that a model's run has, for its last epoch."""
SECTIONS = {
    "errors": ("test_error", "train_error", "false_labels_learned"),
    "margins": ("margin", "margin_median", "margin_correct", "margin_mislabelled"),
    "regions": ("fragmentation", "large_regions", "largest_region"),
    "reproducibility": ("reproducibility", "kappa", "soft_agreement", "agreement_on_test_images", "capa"),
    "sharpness": ("sharpness",),
}  # fmt: skip
"""Scores by section: MLflow draws one chart for each metric and groups them by the text before the slash."""
OF_PLANES = {"regions": SECTIONS["regions"], "reproducibility": SECTIONS["reproducibility"][:3]}
"""The scores that depend on the plane set."""
MAIN = ("test_error", "reproducibility", "fragmentation")
"""The scores that are asked for first: the ends of their intervals are metrics."""
OVER = {"width": " over width", "epoch": " over epochs", None: ""}
SEEDS = [f"{stream}_seed" for stream in Seeds.model_fields]


@dataclass(frozen=True)
class RunContent:
    """What one MLflow run says: a `name` that is unique within the sweep, a `title` for MLflow's pages, the name of the
    `parent` run, plain text, parameters, when its trainings ran if that is known, and metrics."""

    name: str
    title: str
    parent: str | None
    description: str
    params: Mapping[str, Any]
    span: Span | None
    commit: str | None  # of the code that trained the model; of the code that logs the run of a curve or sweep
    metrics: Sequence[Metric] = ()
    failed: bool = False


def runs_of(store: Store, sweep: SweepConfig) -> list[RunContent]:
    """The runs of an analysed sweep: parents before their children, in the order in which pages show them."""
    tables = {name: read_table(store, name) for name in ("groups", "peaks", "outcomes", "models")}
    outcomes, facts, here = tables["outcomes"], noted_facts(store, sweep), provenance()
    now = time.time()  # when trainings count as ended that note no start, as those of earlier versions
    facts = {name: {"started": now - fact.get("seconds", 0), **fact} for name, fact in facts.items()}
    kinds = dict(zip(outcomes["model_id"], outcomes[KIND].itertuples(index=False, name=None), strict=True))
    parents: dict[tuple[Any, ...], str] = {}
    below = []
    for name, title, rows, curve in _parts(tables["groups"], tables["peaks"]):
        step = curve.axis.column if curve else None
        own = dict.fromkeys(rows[KIND].itertuples(index=False, name=None), name)
        parents = own | parents
        span = _span(facts.get(model_id, {}) for model_id, kind in kinds.items() if kind in own)
        params = _part_params(rows, curve)
        told = f"{name}: {params['n_models']} trainings."
        told += f" The steps of its metrics are the {step}s: see Model metrics." if step else ""
        metrics = _all_metrics(tables["groups"], rows, step)
        below.append(RunContent(name, title, SWEEP, told, params, span, here.get("git_commit"), metrics))
    sentences = read_findings(store).sentences if store.exists(FINDINGS_FILE) else []
    top = RunContent(
        name=SWEEP,
        title=sweep.name,
        parent=None,
        description="\n\n".join([*sentences, "Artifacts: report.html has everything; figures, tables, configuration."]),
        params={
            "models": len(outcomes),
            "dataset": sweep.dataset.name,
            **{column: listed([f"{value:g}" if isinstance(value, float) else str(value)
               for value in outcomes[column].unique()], MAX_VALUES) for column in KIND},
            **here,
        },
        span=_span(facts.values()),
        commit=here.get("git_commit"),
    )  # fmt: skip
    models = _model_runs(store, sweep, tables, parents, facts) if len(outcomes) <= MAX_MODELS else []
    return [top, *below, *models]


def _span(facts: Iterable[Mapping[str, Any]]) -> Span | None:
    """From the first start of these trainings to the last end."""
    noted = [(fact["started"], fact["seconds"]) for fact in facts if "seconds" in fact]
    return (min(start for start, _ in noted), max(start + took for start, took in noted)) if noted else None


def splits_of(store: Store, sweep: SweepConfig) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Context, digest and sizes of the training and the test images, as a model noted them."""
    outcomes = read_table(store, "outcomes")
    for model_id in outcomes["model_id"][outcomes["outcome"] == Outcome.DONE][:1]:
        images = store.read_predictions(model_id).to_pandas()
        for split, context in (("train", "training"), ("test", "evaluation")):
            labels = images["true_label"][images["split"] == split]
            digest = fingerprint([sweep.dataset.model_dump(mode="json"), split, labels.tolist()])
            yield context, digest, {"num_rows": len(labels), "num_classes": labels.nunique()}


def _parts(groups: pd.DataFrame, peaks: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame, Curve | None]]:
    """Name, short title, rows on the first plane set, and curve of every curve, and of every group on no curve."""
    first = groups[groups["plane_set"] == groups["plane_set"].iloc[0]]
    on_curve: set[tuple[Any, ...]] = set()
    for axis in (WIDTH, EPOCH):
        found = curves(first, axis, peaks)
        titles = _titles(pd.DataFrame([curve.key for curve in found]))
        over = ", over epochs" * (axis is EPOCH)
        for curve, title in zip(found, titles, strict=True):
            on_curve.update(curve.rows[GROUP].itertuples(index=False, name=None))
            yield f"{curve.name}, label noise {curve.key['label_noise']:g}{over}", f"{title}{over}", curve.rows, curve
    last = first_planes_at_last_epoch(groups)
    last = last[last["n_models"] > 0]
    last = last[[key not in on_curve for key in last[GROUP].itertuples(index=False, name=None)]]
    for index, title in zip(last.index, _titles(last), strict=True):
        yield f"{last['name'][index]}, label noise {last['label_noise'][index]:g}", title, last.loc[[index]], None


def _part_params(rows: pd.DataFrame, curve: Curve | None) -> dict[str, Any]:
    """The fields of a curve or group, and how many models it has."""
    params = {}
    for column in GROUP:
        values = list(dict.fromkeys(rows[column]))
        if values != [""]:
            span = values[0] if len(values) == 1 else f"{min(values)} to {max(values)}"
            params["epochs" if column == "epoch" else column] = span
    by_kind = rows.groupby(KIND)[["n_models", *LEFT_OUT]].max()  # the same models at every epoch
    params |= {str(name): int(count) for name, count in by_kind.sum().items()}
    return params | {name: getattr(curve, name) for name in ("small_train_error", "interpolation_threshold") if curve}


def _all_metrics(groups: pd.DataFrame, rows: pd.DataFrame, step: str | None) -> list[Metric]:
    """All finite scores of a curve or group, on every plane set."""
    found = [*_metrics(rows, SECTIONS, OVER[step], step)]
    for plane_set, table in list(groups.groupby("plane_set", sort=False))[1:]:
        found += _metrics(rows[GROUP].merge(table, on=GROUP), OF_PLANES, f"{OVER[step]} - {plane_set} planes", step)
    ends = {"uncertainty": [f"{score}{end}" for score in MAIN for end in ("_low", "_high")]}
    return [*found, *_metrics(rows, ends, OVER[step], step)]


def _metrics(
    rows: pd.DataFrame, sections: Mapping[str, Sequence[str]], ending: str, step: str | None
) -> Iterator[Metric]:
    found = records(rows)
    for section, scores in sections.items():
        for score in scores:
            for row in found:
                if math.isfinite(row[score]):
                    yield f"{section}{ending}/{score}", float(row[score]), int(row[step]) if step else 0


def _model_runs(
    store: Store, sweep: SweepConfig, tables: Mapping[str, pd.DataFrame], parents: Mapping[Any, str], facts: Facts
) -> Iterator[RunContent]:
    """One run for each row of the table `outcomes`, below its curve or group."""
    outcomes = tables["outcomes"]
    configs = {model.model_id: model for model in sweep.models()}
    scores = {row["model_id"]: row for row in records(first_planes_at_last_epoch(tables["models"]))}
    varied = [column for column in SEEDS if outcomes[column].nunique(dropna=False) > 1]
    together = all((outcomes[column] == outcomes[varied[0]]).all() for column in varied)
    seeds = {varied[0]: "seed"} if varied and together else {column: column.replace("_", " ") for column in varied}
    for title, row in zip(_titles(outcomes), records(outcomes), strict=True):
        model_id, scored = row["model_id"], scores.get(row["model_id"], {})
        model, training = configs[model_id], configs[model_id].training
        final = [(score, float(scored[score]), 0) for score in FINAL if math.isfinite(scored.get(score, math.nan))]
        reason = "" if scored else f" ({row['stage']}: {row['reason']})"
        params = {
            **model.options,
            **{name: getattr(model, name) for name in ("architecture", "width", "label_noise", "recipe")},
            **{name: getattr(training, name) for name in ("optimizer", "learning_rate", "epochs", "batch_size")},
            **{f"{stream}_seed": seed for stream, seed in model.seeds if seed is not None},
            "dataset": model.dataset.name,
            "outcome": row["outcome"],
        }
        yield RunContent(
            name=model_id,
            title=", ".join(filter(None, [title, *(f"{name} {row[column]}" for column, name in seeds.items())])),
            parent=parents.get(tuple(row[column] for column in KIND), SWEEP),
            description=f"{row['outcome']}{reason}. Files: models/{model_id} in the run directory.",
            params=params,
            span=_span([facts.get(model_id, {})]),
            commit=facts.get(model_id, {}).get("git_commit"),
            metrics=[*final, *_history(store, model_id)],
            failed=row["outcome"] != Outcome.DONE,
        )


def _history(store: Store, model_id: str) -> list[Metric]:
    """The history of a training at a few epochs, if possible those with a test; nothing if it did not finish."""
    try:
        table = store.read_parquet(store.model_file(model_id, layout.HISTORY))[0].to_pandas()
    except FileNotFoundError:
        return []
    tested = table[table["test_error"].notna()]
    shown = tested if len(tested) > 1 else table
    shown = shown.iloc[evenly(len(shown), MAX_EPOCHS)]
    return [
        (f"training/{column}", float(value), int(epoch))
        for column in HISTORY
        for epoch, value in zip(shown["epoch"], shown[column], strict=True)
        if math.isfinite(value)
    ]


def _titles(table: pd.DataFrame) -> list[str]:
    """Names by the columns in which the rows differ, apart from seeds; the architecture if they differ in none."""
    columns = [column for column in (*NAMING, "label_noise") if column in table and table[column].nunique() > 1]
    return names_of(table, columns or ["architecture"])


def artifacts_of(store: Store, sweep: SweepConfig) -> dict[str, bytes]:
    """What is stored of the sweep as a whole, by the paths that it has as artifacts."""
    names = {name: name for name in (SWEEP_FILE, REPORT_FILE)}
    names |= {f"tables/{name}.csv": store.scores_file(name, "csv") for name in tables_of(sweep)}
    for name, figure in figures_of(sweep).items():
        names |= {f"figures/{name}.{suffix}": store.figure_file(name, suffix) for suffix in figure.suffixes}
    return {path: store.read(name) for path, name in names.items() if store.exists(name)}

"""The findings as short tables, for terminals and reports; findings, outcomes and advice as text for a terminal."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dbviz_ray.formatting import COLUMNS, Cell, interval_cell, paragraph, score_cell, with_names_above
from dbviz_ray.store import Store
from dbviz_ray.store.models import Outcome

from ..scores.group_scores import SCORES
from ..scores.groups import NETWORK, at_last_epoch, first_planes_at_last_epoch, names_of, records
from ..statistics.intervals import advice_on
from ..tables import read_table
from ..tables.groups import uncertain_scores
from ..tables.outcomes import lost_models, what_happened
from . import Finding, Findings, Kind, Number

MAX_ROWS = 40
"""Most rows of a shown table; the files in scores/ hold all."""
MAX_PLANE_SETS = 4
MAX_NAMED, MAX_LINES = 5, 3
"""Most lost models named, and most lines about each."""
ADVISED = ("test_error", "reproducibility", "kappa", "fragmentation", "margin")
IMAGES = {"test_error": "test images", "margin": "images"}
"""The items of these scores; those of all others are planes."""
HEADINGS = {
    "train_error": ("train error", 3),
    "false_labels_learned": ("false labels learned", 3),
    "test_error": ("{tested_on} error", 3),
    "reproducibility": ("reproducibility", 3),
    "kappa": ("kappa", 3),
    "agreement_on_test_images": ("agreement on images", 3),
    "fragmentation": ("regions", 2),
    "largest_region": ("largest region", 3),
    "margin": ("margin", 3),
    "sharpness": ("sharpness", 4),
}
"""The scores that tables show of groups: heading, and digits after the point."""
OTHER_SETS = "Regions in a plane, on the planes of the other sets (compare within a column: grids may differ)"
HOW = (
    "For more seeds or planes, give the same command with grid.seed=[...] or planes.NAME.count=..., another --out and\n"
    "resources.reuse=[this run], which takes over the trained models."
)

Rows = list[Sequence[str | Cell]]


@dataclass(frozen=True)
class Table:
    """A caption and rows; the first row is the head."""

    caption: str
    rows: Rows

    @property
    def shown(self) -> Rows:
        """The head and the first rows."""
        return self.rows[: 1 + MAX_ROWS]

    @property
    def more(self) -> int:
        """How many rows are not shown."""
        return len(self.rows) - len(self.shown)


def read_shown_tables(store: Store) -> dict[str, pd.DataFrame]:
    """Those tables of summaries that the sweep has."""
    names = ("groups", "outcomes", "by_recipe")
    return {name: read_table(store, name) for name in names if store.exists(store.scores_file(name))}


def short_tables(found: Findings, tables: Mapping[str, pd.DataFrame]) -> list[Table]:
    """The few tables that suit the sweep best."""
    groups = tables["groups"]
    over_width, over_epochs = found.of(Kind.OVER_WIDTH), found.of(Kind.OVER_EPOCHS)
    shown = [_curves(findings) for findings in (over_width, over_epochs) if findings]
    shown += _other_planes(over_width + over_epochs)
    if "by_recipe" in tables:
        shown.append(_by_recipe(tables["by_recipe"], groups["tested_on"].iloc[0]))
    if rates := found.of(Kind.BEST_RATE):
        shown.append(_rates(rates))
    return shown or group_tables(groups, ("test_error", "reproducibility", "fragmentation"), "On {} planes")


def _curves(findings: Sequence[Finding]) -> Table:
    """The shown points of curves over one axis."""
    axis, tested_on = (findings[0].condition[key] for key in ("axis", "tested_on"))
    rows: Rows = [["", axis, "noise", "train error", f"{tested_on} error", "reproducibility", "regions"]]
    for finding in findings:
        for error in finding.of("test_error"):
            keys = error.subject.keys
            fixed = [_point_name(finding, findings, error), str(keys[axis]), f"{keys['label_noise']:g}"]
            scores = ("train_error", "test_error", "reproducibility", "fragmentation")
            rows.append([*fixed, *(_cell(finding.number(error.role, score)) for score in scores)])
    return Table(f"Selected points over the {axis}", rows)


def _other_planes(findings: Sequence[Finding]) -> list[Table]:
    """The regions at the same points on the planes of the other sets."""
    rows: Rows = []
    plane_sets: list[str] = []
    for finding in findings:
        axis = finding.condition["axis"]
        others = finding.of("fragmentation", "other")
        for error in finding.of("test_error"):
            at = error.subject.keys
            here = {o.subject.keys["plane_set"]: o for o in others if o.subject.keys[axis] == at[axis]}
            plane_sets = plane_sets or list(here)[:MAX_PLANE_SETS]
            name = f"{_point_name(finding, findings, error)}, {axis} {at[axis]}, noise {at['label_noise']:g}"
            rows.append([name, *(_cell(here[plane_set], 2) for plane_set in plane_sets)])
    return [Table(OTHER_SETS, [["", *plane_sets], *rows])] * bool(plane_sets)


def _point_name(finding: Finding, among: Sequence[Finding], number: Number) -> str:
    """The point, after the curve's name if there are several."""
    several = len({other.subject.name for other in among}) > 1
    return ", ".join([*(finding.subject.name if several else ()), number.role])


def _by_recipe(by_recipe: pd.DataFrame, tested_on: str) -> Table:
    """The paper's Table 1: a row for each network and recipe, on the first plane set."""
    table = by_recipe[by_recipe["plane_set"] == by_recipe["plane_set"].iloc[0]]
    noisy = table["label_noise"].nunique() > 1
    accuracy = "accuracy" if tested_on == "test" else "held-out accuracy"
    rows: Rows = [["", *["noise"] * noisy, "reproducibility", accuracy]]
    for name, row in zip(names_of(table, [*NETWORK, "recipe"]), records(table), strict=True):
        scores = [score_cell(row, score, 1, scale=100) for score in ("reproducibility", "accuracy")]
        cells = scores if row["n_models"] else [what_happened(row), ""]
        rows.append([name, *[f"{row['label_noise']:g}"] * noisy, *cells])
    plane_set = table["plane_set"].iloc[0]
    others = "; other planes: scores/by_recipe.csv" if len(table) < len(by_recipe) else ""
    return Table(f"Reproducibility on {plane_set} planes and {accuracy}, in percent{others}", rows)


def _rates(findings: Sequence[Finding]) -> Table:
    """The best learning rate of every network and recipe."""
    tested_on = findings[0].condition["tested_on"]
    rows: Rows = [["", "noise", "best rate", f"{tested_on} error", "reproducibility", "not told apart"]]
    for finding in findings:
        keys = finding.subject.keys
        alike = [f"{n.subject.keys['learning_rate']:g}" for n in finding.of("test_error", "not told apart")]
        scores = (finding.number("best", score) for score in ("test_error", "reproducibility"))
        fixed = [str(finding.subject), f"{keys['label_noise']:g}", f"{keys['learning_rate']:g}"]
        others = " ".join(alike) if len(alike) < 3 else f"{alike[0]} to {alike[-1]}"
        rows.append([*fixed, *map(_cell, scores), others])
    return Table("The best learning rates, and others whose error may differ by chance alone", rows)


def group_tables(groups: pd.DataFrame, scores: Iterable[str], caption: str) -> list[Table]:
    """Those scores that are known of each group at its last epoch, one table for each plane set."""
    last = at_last_epoch(groups)
    last = last.assign(name=names_of(last))
    tables = []
    for plane_set, of_set in last.groupby("plane_set", sort=False):
        known = {score: HEADINGS[score] for score in scores if of_set[score].notna().any()}
        heads = [head.format(tested_on=last["tested_on"].iloc[0]) for head, _ in known.values()]
        rows: Rows = [["", "noise", "models", *heads]]
        for row in records(of_set):
            cells = [score_cell(row, score, digits) for score, (_, digits) in known.items()]
            rows.append([row["name"], f"{row['label_noise']:g}", str(row["n_models"]), *cells])
        tables.append(Table(caption.format(plane_set), rows))
    return tables


def _cell(number: Number, digits: int | None = None) -> Cell:
    digits = digits or (2 if number.score == "fragmentation" else 3)
    return interval_cell(number.value, number.low, number.high, digits)


def summary_text(found: Findings, tables: Mapping[str, pd.DataFrame]) -> str:
    """The short tables and the sentences, for a terminal."""
    blocks = []
    for table in short_tables(found, tables):
        rest = [f"... {table.more} more lines: see scores/"] if table.more else []
        blocks.append("\n".join([table.caption, *with_names_above(table.shown), *rest]))
    sentences = "\n".join(map(paragraph, found.sentences))
    return "\n\n".join([*blocks, sentences]).rstrip()


def outcomes_text(outcomes: pd.DataFrame) -> str:
    """The number of models with each outcome; then the first failures, with stage and reason."""
    counts = outcomes["outcome"].value_counts()
    how_many = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if outcome in counts)
    failed = records(outcomes[lost_models(outcomes)["n_failed"]])
    lines, more = [f"{len(outcomes)} models: {how_many}"], len(failed) - MAX_NAMED
    indents: dict[str, Any] = {"initial_indent": "  ", "subsequent_indent": "    ", "break_on_hyphens": False}
    for row in failed[:MAX_NAMED]:
        told = f"{row['model_id']}: {row['stage']}, {row['outcome']}: {row['reason']}"
        lines.append(textwrap.fill(told, COLUMNS, max_lines=MAX_LINES, placeholder=" ...", **indents))
    return "\n".join([*lines, f"  and {more} more: see scores/outcomes.csv"] if more > 0 else lines)


def advice_table(uncertainty: pd.DataFrame, wanted: float) -> pd.DataFrame:
    """What each group of the first plane set needs at its last epoch: columns name, label_noise, score, advice.

    `wanted` is the half-width of a 95 % interval: of shares itself, of other scores as a share of the value.
    """
    rows = []
    for row, interval, variances in uncertain_scores(first_planes_at_last_epoch(uncertainty)):
        score, value = row["score"], row["value"]
        bounds = SCORES[score]
        reach = wanted if math.isfinite(bounds[1]) else wanted * value
        if score in ADVISED and not math.isnan(value) and reach > 0:  # a share of zero is zero
            advice = advice_on(interval, variances, bounds, reach, ("seeds", IMAGES.get(score, "planes")))
            rows.append({**{column: row[column] for column in ("name", "label_noise", "score")}, "advice": advice})
    return pd.DataFrame(rows)


def advice_text(uncertainty: pd.DataFrame, wanted: float) -> str:
    """How many more seeds, planes or images the scores need, and what would satisfy all groups."""
    table = advice_table(uncertainty, wanted)
    lines = [f"For 95 % intervals of at most ±{wanted:g} (shares) and ±{wanted:.2g} of the value (other scores):"]
    for (name, noise), rows in table.groupby(["name", "label_noise"], sort=False):
        lines.append(f"{name}, label noise {noise:g}")
        lines += [f"  {row.score:16} {row.advice}" for row in rows.itertuples()]
    lines.append("")
    for score, advices in table.groupby("score", sort=False)["advice"]:
        reached = sum(advice.reach <= advice.wanted for advice in advices)
        known = [advice.models for advice in advices if advice.models is not None]
        enough = "more seeds alone are not enough"
        if known:
            enough = f"{max(known)} seeds each would do for {len(known)} of them"
        rest = f"; {enough} with the {IMAGES.get(str(score), 'planes')} there are" if reached < len(advices) else ""
        lines.append(f"{score:18} {reached} of {len(advices)} groups are within it{rest}.")
    return "\n".join([*lines, "", HOW])

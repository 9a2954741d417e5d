"""The few numbers of a sweep that are looked at first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dbviz_ray.store.outcomes import Outcome

from ..scores.groups import first_planes_at_last_epoch, names_of, records
from ..tables.outcomes import LEFT_OUT, lost_models
from ..tables.recipes import at_best_rate
from .page import facts, folded, paragraph

SCORES = {
    "reproducibility": "Two trainings agree on this share of a plane",
    "test_error": "Share of {tested_on} images classified wrongly",
    "fragmentation": "Regions of one class in a plane",
}


def in_short(groups: pd.DataFrame) -> str:
    """What the reproducibility means, in one sentence; empty if it is not known."""
    best = _compared(groups)
    known = best[best["reproducibility"].notna()]
    if known.empty:
        return ""
    worst, best_one = records(known.loc[[known["reproducibility"].idxmin(), known["reproducibility"].idxmax()]])
    if len(known) == 1:
        return (
            f"Trained again, this network predicts another class on about {_others(best_one)} of 100 points of a plane."
        )
    return (
        f"Trained again, a network predicts another class on about {_others(best_one)} of 100 points of a plane at "
        f"best ({_where(best_one, best)}) and on about {_others(worst)} at worst ({_where(worst, best)})."
    )


def headline(groups: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """What each number is, its value or from where to where it goes, and what belongs to it; of the first plane set."""
    best = _compared(groups)
    told = []
    for score, name in SCORES.items():
        known = best[best[score].notna()]
        if known.empty:
            continue
        least, most = records(known.loc[[known[score].idxmin(), known[score].idxmax()]])
        ends = [least] if len(known) == 1 else [least, most]
        value = " to ".join(dict.fromkeys(_value(row, score) for row in ends))
        notes = [f"{_where(row, best)} {_interval(row, score)}".strip() for row in ends]
        told.append((name.format(tested_on=best["tested_on"].iloc[0]), value, notes))
    return told


def _compared(groups: pd.DataFrame) -> pd.DataFrame:
    """The groups of the first plane set, each at its last epoch and best learning rate, with short names.

    Where some trainings predict one class for every image, agreement means nothing: such groups are left out, if there
    are others.
    """
    best = at_best_rate(groups[groups["plane_set"] == groups["plane_set"].iloc[0]])
    best = best.assign(name=_short(names_of(best)))
    telling = best[best["n_constant"] == 0]
    return telling if len(telling) else best


def _others(row: dict[str, Any]) -> str:
    return f"{100 * (1 - row['reproducibility']):.0f}"


def _short(names: list[str]) -> list[str]:
    """The names without a beginning that all of several have in common."""
    beginnings = {name.partition(", ")[0] for name in names}
    shared = len(names) > 1 and len(beginnings) == 1 and all(", " in name for name in names)
    return [name.partition(", ")[2] for name in names] if shared else names


def _value(row: dict[str, Any], score: str) -> str:
    return f"{row[score]:.1f}" if score == "fragmentation" else f"{row[score]:.1%}"


def _interval(row: dict[str, Any], score: str) -> str:
    scale = 1 if score == "fragmentation" else 100
    return f"[{scale * row[f'{score}_low']:.1f},\N{NO-BREAK SPACE}{scale * row[f'{score}_high']:.1f}]"


def _where(row: dict[str, Any], groups: pd.DataFrame) -> str:
    noise = f", label noise {row['label_noise']:g}" if groups["label_noise"].nunique() > 1 else ""
    return f"{row['name']}{noise}"


MAX_ROWS = 40
WHERE = {"train": "while they were trained", "evaluate": "while they were evaluated"}
MEANINGS = {
    Outcome.DIVERGED: "their loss is not finite, which would come again",
    Outcome.PREEMPTED: "their machine vanished",
    Outcome.CRASHED: "their process died again and again",
    Outcome.OUT_OF_MEMORY: "even one alone did not fit into the memory",
    Outcome.FAILED: "an error that would come again",
    Outcome.BAD_CONFIGURATION: "an error in the configuration, yours to mend",
}


def losses(outcomes: pd.DataFrame, groups: pd.DataFrame, absent: Sequence[str]) -> list[str]:
    """HTML that says what is missing, from the tables `outcomes` and `groups` and the titles of absent pictures."""
    lost = outcomes[outcomes["outcome"] != Outcome.DONE]
    body = []
    if lost.empty:
        body.append(paragraph(f"All {len(outcomes):,} models were trained and scored."))
    else:
        body.append(
            paragraph(
                f"{len(outcomes) - len(lost):,} of {len(outcomes):,} models were trained and scored. "
                f"{len(lost):,} are left out of every score, table and picture:"
            )
        )
        body += [_reasons(lost), _models(lost)]
        if lost_models(outcomes)["n_failed"].any():
            body.append(paragraph("The command that made this report, given again, tries failed models again."))
    body += [paragraph(text) for text in (*_unknown(groups), *_pictures(absent))]
    return body


def _reasons(lost: pd.DataFrame) -> str:
    """How many models were lost in which way, with the first reason of each."""
    told = []
    for (outcome, stage), those in lost.groupby(["outcome", "stage"], sort=False):
        reasons = those["reason"].unique()
        others = f" (and {len(reasons) - 1:,} other reasons)" if len(reasons) > 1 else ""
        meaning = f"{WHERE[str(stage)]}; {MEANINGS[Outcome(str(outcome))]}. Reason given: {reasons[0]}{others}"
        told.append((f"{len(those):,} {outcome}", meaning))
    return facts(told)


def _models(lost: pd.DataFrame) -> str:
    told = [(row["model_id"], f"{row['outcome']}: {row['reason']}") for row in records(lost[:MAX_ROWS])]
    more = len(lost) - MAX_ROWS
    rest = [paragraph(f"And {more:,} more: scores/outcomes.csv.")] if more > 0 else []
    return folded("Which models", [facts(told), *rest])


def _unknown(groups: pd.DataFrame) -> list[str]:
    last = first_planes_at_last_epoch(groups)
    empty = last[last["n_models"] == 0]
    lost = last[list(LEFT_OUT)].sum(axis=1) > 0
    alone = last[(last["n_models"] == 1) & lost]
    told = []
    if len(empty):
        told.append(f"No training is left of {_named(empty)}.")
    if len(alone):
        told.append(f"One training is left of {_named(alone)}, so that nothing can be said of its reproducibility.")
    return told


def _named(rows: pd.DataFrame) -> str:
    names = [f"{row['name']}, label noise {row['label_noise']:g}" for row in records(rows[:MAX_ROWS])]
    more = len(rows) - MAX_ROWS
    return "; ".join([*names, *([f"and {more:,} more"] if more > 0 else [])])


def _pictures(absent: Sequence[str]) -> list[str]:
    return [f"Not drawn: {', '.join(absent)}."] if absent else []

"""What a sweep lacks: models that failed or diverged and why, unknown scores, pictures that are not there."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.groups import first_planes_at_last_epoch, records
from analysis.left_out import LEFT_OUT, lost_models
from analysis.report.page import facts, folded, paragraph
from dbviz_ray.outcomes import Outcome

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

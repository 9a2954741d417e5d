"""Computes the findings of a sweep from its tables. Their kinds depend on what the sweep varies."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import pandas as pd

from ..scores.groups import GROUP, KIND, NAMING, NETWORK, alike, at_last_epoch, name_parts, records
from ..tables.groups import GRID, LIMIT
from ..tables.outcomes import LEFT_OUT
from ..tables.pairs import difference_of
from ..tables.recipes import BestRate, at_best_rate, best_rates, compares_recipes
from ..tables.scored import NAN
from .curves import EPOCH, PEAK, WIDTH, Curve, curves, representative_curves
from .rows import Finding, Kind, Number, Subject

MAX_EPOCH_CURVES = 4
"""Most curves over the epochs with a finding each."""
MAX_GROUPS = 6
"""With more groups, none is compared across plane sets."""
CURVE_SCORES = ("train_error", "false_labels_learned", "test_error", "reproducibility", "fragmentation")
ON_PLANES = ("reproducibility", "fragmentation")
SHARES = ("total_share", "own_share")
BY_LABELS = ("margin_correct", "margin_mislabelled")


def findings_in(tables: Mapping[str, pd.DataFrame]) -> list[Finding]:
    """All findings, in the order of the report."""
    groups = tables["groups"]
    first = groups[groups["plane_set"] == groups["plane_set"].iloc[0]]
    over_width, over_epochs = curves(first, WIDTH, tables["peaks"]), curves(first, EPOCH)
    with_peak = [curve for curve in over_epochs if curve.has_peak]
    shown = representative_curves(with_peak or over_epochs, MAX_EPOCH_CURVES)
    has_curves, compared = bool(over_width or shown), compares_recipes(groups)
    best = _with_subjects(at_best_rate(groups))
    last = _with_subjects(at_last_epoch(first))
    return [
        *(curve_finding(curve, groups, tables["differences"]) for curve in (*over_width, *shown)),
        *([_epoch_curves(over_epochs)] if len(over_epochs) > len(shown) else []),
        *(_agreement(best) if compared or not has_curves else []),
        *(_between_kinds(best, tables["between_groups"]) if compared else []),
        *(_plane_sets(best) if not has_curves else []),
        *_rates(best_rates(groups, tables["differences"])),
        *(_distillation(groups, tables["distillation"]) if "distillation" in tables else []),
        *(_sharpness(best) if compared else []),
        *margins(over_width),
        *(streams(tables["streams"]) if "streams" in tables else []),
        *(resolution(tables["resolution"], groups) if over_width else []),
        *(finding for lost in LEFT_OUT for finding in _counted(Kind.LEFT_OUT, last, lost, ["n_models", *LEFT_OUT])),
        *_counted(Kind.CONSTANT, last, "n_constant", ["n_models"]),
    ]


def curve_finding(curve: Curve, groups: pd.DataFrame, differences: pd.DataFrame) -> Finding:
    """The shown points of a curve, their regions on the other plane sets, and the agreement at its end and its peak."""
    kind = Kind.OVER_WIDTH if curve.axis is WIDTH else Kind.OVER_EPOCHS
    numbers = []
    for point, place in curve.shown_rows.items():
        (row,) = records(curve.rows.iloc[[place]])
        subject = _subject(row, curve.name_parts)
        numbers += [_number(row, score, subject, point) for score in CURVE_SCORES]
        for other in records(alike(groups, row)):
            if other["plane_set"] != row["plane_set"]:
                numbers.append(_number(other, "fragmentation", _subject(other, curve.name_parts), "other"))
    subject = Subject(curve.name_parts, curve.key)
    if PEAK in curve.shown_rows:
        top, last = records(curve.rows.iloc[[curve.shown_rows[PEAK], -1]])
        if apart := difference_of(differences, "reproducibility", last, top):
            numbers.append(_number(apart, "difference", subject, "reproducibility"))
    condition = {"axis": curve.axis.column, "peak": curve.has_peak, "tested_on": curve.rows["tested_on"].iloc[0]}
    condition["p_values"] = {score: peak["p_value"] for score, peak in curve.peaks.items() if peak["p_value"] >= 0}
    for score, peak in curve.peaks.items():
        ends = (peak["width"], peak["width_low"], peak["width_high"], peak["n_models"])
        numbers.append(Number("place", subject, f"{score}_width", *ends, covers=peak["interval_covers"]))
    numbers += [_threshold(curve, score) for score in ("small_train_error", "interpolation_threshold")]
    return Finding(kind, subject, tuple(numbers), curve.peak_p_value if curve.has_peak else NAN, condition)


def _threshold(curve: Curve, score: str, role: str = "") -> Number:
    at = getattr(curve, score)
    return Number(role, Subject(curve.name_parts, curve.key), score, NAN if at is None else at)


def _epoch_curves(found: Sequence[Curve]) -> Finding:
    """Which of all curves over the epochs have a peak."""
    numbers = (_threshold(curve, "interpolation_threshold", "peak" if curve.has_peak else "no peak") for curve in found)
    return Finding(Kind.EPOCH_CURVES, Subject(), tuple(numbers))


def _agreement(best: pd.DataFrame) -> Iterator[Finding]:
    """The groups whose trainings agree most and least, on the first plane set."""
    known = best[(best["plane_set"] == best["plane_set"].iloc[0]) & best["reproducibility"].notna()]
    for noise, rows in known.groupby("label_noise", sort=False):
        common = Subject((), {"label_noise": noise, "plane_set": rows["plane_set"].iloc[0]})
        numbers = (_number(row, "reproducibility", row["subject"], role) for role, row in _extremes(rows))
        yield Finding(Kind.AGREEMENT, common, tuple(numbers))


def _between_kinds(best: pd.DataFrame, between: pd.DataFrame) -> Iterator[Finding]:
    """The pairs of kinds whose trainings agree most and least, on the first plane set."""
    plane_set = best["plane_set"].iloc[0]
    for noise, rows in between[between["plane_set"] == plane_set].groupby("label_noise", sort=False):
        if len(rows) > 1:
            numbers = (
                _number(row, "reproducibility", _side(row, best, "{}_a"), role, _side(row, best, "{}_b"))
                for role, row in _extremes(rows)
            )
            common = Subject((), {"label_noise": noise, "plane_set": plane_set})
            yield Finding(Kind.BETWEEN_KINDS, common, tuple(numbers))


def _extremes(rows: pd.DataFrame) -> Iterable[tuple[str, dict[str, Any]]]:
    """The rows with the largest and the smallest reproducibility; a single row is only "most"."""
    score = rows["reproducibility"].to_numpy()
    places = {"most": int(score.argmax()), "least": int(score.argmin())} if len(rows) > 1 else {"most": 0}
    return ((role, records(rows.iloc[[place]])[0]) for role, place in places.items())


def _plane_sets(best: pd.DataFrame) -> Iterator[Finding]:
    """Agreement and regions of each group on every plane set, for several sets and few groups."""
    best = best[best["n_models"] > 0]
    groups = best.groupby(KIND, sort=False)
    if best["plane_set"].nunique() < 2 or groups.ngroups > MAX_GROUPS:
        return
    for _, rows in groups:
        subject = rows["subject"].iloc[0].without("plane_set")
        yield Finding(Kind.PLANE_SETS, subject, _numbers(rows, ON_PLANES, _subject, "{plane_set}"))


def _rates(rates: Sequence[BestRate]) -> Iterator[Finding]:
    """The best learning rate of each network and recipe; which lie at an end of their grid."""
    at_end = []
    for rate, name in zip(rates, name_parts(pd.DataFrame([r.best for r in rates]), [*NETWORK, "recipe"]), strict=True):
        subject = _subject(rate.best, name)
        numbers = [_number(rate.best, score, subject, "best") for score in ("test_error", "reproducibility")]
        numbers += [_number(row, "test_error", _subject(row, name), "not told apart") for row in rate.alike]
        condition = {"tested_on": rate.best["tested_on"], "at_end": rate.at_end}
        yield Finding(Kind.BEST_RATE, subject, tuple(numbers), condition=condition)
        if rate.at_end:
            at_end.append(_number(rate.best, "learning_rate", subject, rate.at_end))
    if at_end:
        yield Finding(Kind.RATES_AT_END, Subject(), tuple(at_end))
    if any(rate.best["tested_on"] == "test" for rate in rates):
        yield Finding(Kind.RATES_BY_TEST_ERROR, Subject())


def _distillation(groups: pd.DataFrame, distillation: pd.DataFrame) -> Iterator[Finding]:
    """How often students, and undistilled models, agree with the teachers."""
    for row in records(distillation):
        student, teacher, control = (_side(row, groups, role + "_{}") for role in ("student", "teacher", "control"))
        numbers = (
            _number(row, "student_agreement", student, "student", teacher),
            _number(row, "control_agreement", control, "control", teacher),
            _number(row, "difference", student, "difference", control),
        )
        common = Subject((), {column: row[column] for column in ("label_noise", "plane_set")})
        yield Finding(Kind.DISTILLATION, common, numbers, condition={"same_start": row["same_start"]})


def _sharpness(best: pd.DataFrame) -> Iterator[Finding]:
    """The sharpness of each network with several recipes."""
    best = best[(best["plane_set"] == best["plane_set"].iloc[0]) & best["sharpness"].notna()]
    best = best.assign(network=pd.Series(name_parts(best, NETWORK), index=best.index, dtype=object))
    for _, rows in best.groupby([*NETWORK, "label_noise"], sort=False):
        if rows["recipe"].nunique() > 1:
            (first, *_) = records(rows)
            subject = Subject(first["network"], {column: first[column] for column in (*NETWORK, "label_noise")})
            yield Finding(Kind.SHARPNESS, subject, _numbers(rows, ["sharpness"], itemgetter("subject"), "{recipe}"))


def margins(found: Sequence[Curve]) -> Iterator[Finding]:
    """Margins at the shown points of curves over width, split by right and wrong labels where both exist."""
    for curve in found:
        rows = curve.rows.iloc[list(curve.shown_rows.values())]
        scores = ["margin"] if rows["margin_mislabelled"].isna().all() else list(BY_LABELS)
        if rows[scores].notna().all(axis=None):
            numbers = _numbers(rows, scores, partial(_subject, name=curve.name_parts))
            condition = {"not_found": 1 - float(rows["margin_found"].min())}
            subject = Subject(curve.name_parts, curve.key).without("plane_set")
            yield Finding(Kind.MARGINS, subject, numbers, condition=condition)


def streams(table: pd.DataFrame) -> Iterator[Finding]:
    """Each random stream's share of the disagreement, for each group at its last epoch."""
    if table.empty:
        return
    last = _with_subjects(at_last_epoch(table[table["plane_set"] == table["plane_set"].iloc[0]]))
    for _, rows in last.groupby(KIND, sort=False):
        shares = _numbers(rows, SHARES, itemgetter("subject"), "stream")
        if shares:
            (first, *_) = records(rows)
            subject = first["subject"].without("stream")
            whole = _number(first, "disagreement", subject, "all")
            covers = {text for score in SHARES for text in rows[f"{score}_interval_covers"]} - {"nothing"}
            yield Finding(Kind.STREAMS, subject, (whole, *shares), condition={"covers": sorted(covers)})


def resolution(table: pd.DataFrame, groups: pd.DataFrame) -> Iterator[Finding]:
    """Counts of regions on coarser and finer grids, for the group with the most large regions in the limit."""
    if table.empty:
        return
    last = at_last_epoch(table)
    most = max(records(last[last["kind"] == LIMIT]), key=itemgetter("large_regions"))
    own = alike(last[last["kind"] == GRID], most, [*GROUP, "plane_set"])
    on_grids = own.astype({"resolution": int}).sort_values("resolution")
    named = at_last_epoch(groups[groups["plane_set"] == most["plane_set"]])
    subject = _side(most, named, "{}")
    grids = _numbers(on_grids, ("fragmentation", "large_regions"), partial(_subject, name=subject.name), "grid")
    yield Finding(Kind.RESOLUTION, subject, (*grids, _number(most, "large_regions", subject, "limit")))


def _counted(kind: Kind, last: pd.DataFrame, column: str, among: list[str]) -> Iterator[Finding]:
    """The trainings that `column` counts, in all and by group, of those that the columns `among` count."""
    of = last[among].sum(axis=1)
    rows = zip(records(last), of.tolist(), strict=True)
    numbers = [Number("", row["subject"], column, row[column], n=count) for row, count in rows if row[column]]
    if numbers:
        every = Number("all", Subject(), column, int(last[column].sum()), n=int(of.sum()))
        yield Finding(kind, Subject(), (every, *numbers))


def _number(
    row: Mapping[str, Any], score: str, subject: Subject, role: str = "", comparison: Subject | None = None
) -> Number:
    low, high = (row.get(f"{score}_{end}", NAN) for end in ("low", "high"))
    covers = row.get(f"{score}_interval_covers", "")
    return Number(role, subject, score, row[score], low, high, row.get("n_models", 0), comparison, covers)


def _numbers(
    rows: pd.DataFrame, scores: Iterable[str], subject: Callable[[dict[str, Any]], Subject], role: str = ""
) -> tuple[Number, ...]:
    """A number for each score of each row that has it; `role` may name columns, such as "{recipe}"."""
    known = ((row, score) for score in scores for row in records(rows[rows[score].notna()]))
    return tuple(_number(row, score, subject(row), role.format_map(row)) for row, score in known)


def _with_subjects(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `subject`: each row's subject, named among all rows."""
    subjects = list(map(_subject, records(table), name_parts(table)))
    return table.assign(subject=pd.Series(subjects, index=table.index, dtype=object))


def _subject(row: Mapping[str, Any], name: tuple[str, ...] = ()) -> Subject:
    columns = ("plane_set", *GROUP, "resolution", "stream")
    return Subject(name, {column: row[column] for column in columns if column in row})


def _side(row: Mapping[str, Any], among: pd.DataFrame, column: str) -> Subject:
    """The group that `row` names in columns called such as `column`, with its name among the rows of `among`."""
    names = dict(zip(among[NAMING].itertuples(index=False, name=None), name_parts(among), strict=True))
    keys = {name: row[column.format(name)] for name in NAMING}
    return Subject(names[tuple(keys.values())], keys | {name: row[name] for name in ("label_noise", "plane_set")})

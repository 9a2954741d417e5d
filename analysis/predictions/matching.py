"""The predictions of two or more models for the same items, from files that are matched by their ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dbviz_ray.errors import UserError
from dbviz_ray.formatting import listed, names_of_paths
from dbviz_ray.store import Labels

from .files import IDS, KINDS, LABELS, Classes, PredictionFile, read_file

MOST_CLASSES = 65_536
MOST_NAMED = 5
NO_GROUP = "(none)"
"""The group of an item for which a column of groups has no value."""
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """What to read of each file, and names that are not the usual ones."""

    id: str | None = None
    label: str | None = None
    prediction: str | None = None
    groups: Sequence[str] = ()
    """Columns that part the items into groups."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """Only rows with these values in these columns."""
    common: bool = False
    """Only items that every file has; otherwise, all files must have the same."""


@dataclass(frozen=True)
class Predictions:
    """What two or more models predict for the same items."""

    names: tuple[str, ...]
    """Of the models."""
    class_names: tuple[str, ...]
    ids: pa.Array
    """`[items]`, of any type; row numbers if the files have no ids."""
    predicted: Labels
    """Classes, `[models, items]`."""
    truth: Places | None
    """True classes, `[items]`; None if no file has labels."""
    groups: Mapping[str, Classes]
    """The group of each item, `[items]`, and the names of the groups, for each column of groups."""
    sources: tuple[dict[str, Any], ...]
    """Name, file, sha256 and number of rows of each model."""
    remarks: tuple[str, ...]
    """What was assumed, a sentence each."""


def read_predictions(paths: Sequence[str], names: Sequence[str] = (), columns: Columns | None = None) -> Predictions:
    """The predictions in two or more files.

    UserError about a file, or if they do not belong together: other ids, other labels.
    """
    wanted = columns or Columns()
    if len(paths) < 2:
        raise UserError("files", len(paths), reason="given", allowed="two or more")
    called = tuple(names) or tuple(names_of_paths(paths, KINDS))
    if len(called) != len(paths) or len(set(called)) < len(called):
        raise UserError("names", list(called), allowed=f"{len(paths)} different ones, one for each file")
    files = [read_file(path, wanted.where) for path in paths]
    ids, places, remarks = _matched(files, wanted)
    if len(ids) < 2:
        raise UserError("files", len(ids), reason="items in common", allowed="at least two")
    given: list[Classes | None] = [file.predicted(wanted.prediction) for file in files]
    for file in files:
        name = file.column(LABELS, wanted.label)
        given.append(None if name is None else file.classes(name))
    class_names = sorted({name for of in given if of is not None for name in of[1]}, key=_class_order)
    if len(class_names) > MOST_CLASSES:
        raise UserError("prediction", len(class_names), reason="classes", allowed=f"at most {MOST_CLASSES:,}")
    number = {name: place for place, name in enumerate(class_names)}
    kind = np.min_scalar_type(max(len(class_names), 2) - 1)
    coded = [
        None if of is None else np.array([number[name] for name in of[1]], kind)[of[0][place]]
        for of, place in zip(given, (*places, *places), strict=True)
    ]
    truth = _labels_of_all(files, coded[len(files) :], ids, class_names)
    if truth is None:
        remarks.append("No file has labels, so nothing is known about who is right.")
    for file, of in zip(files, coded, strict=False):
        if truth is not None and of is not None and not np.isin(np.unique(of), truth).any():
            reason = (
                f"predicts {class_names[of[0]]} and others, none of which is a label; one is {class_names[truth[0]]}"
            )
            raise UserError(file.path, reason=reason, allowed="the same names for predictions and labels")
    groups = {name: _groups(files, places, name) for name in wanted.groups}
    sources = tuple(
        {"name": name, "file": file.path, "sha256": file.sha256, "rows": len(file.table)}
        for name, file in zip(called, files, strict=True)
    )
    predicted = np.stack([of for of in coded[: len(files)] if of is not None])
    alike = [name for name, of in zip(called, predicted, strict=True) if (of == of[0]).all()]
    if alike:
        remarks.append(f"One class for every item: {listed(alike, MOST_NAMED)}.")
    return Predictions(called, tuple(class_names), ids, predicted, truth, groups, sources, tuple(remarks))


def _class_order(name: str) -> tuple[bool, int, str]:
    """Numbers in their order, then texts."""
    is_number = name.isascii() and name.removeprefix("-").isdigit()
    return (False, int(name), "") if is_number else (True, 0, name)


def _matched(files: Sequence[PredictionFile], wanted: Columns) -> tuple[pa.Array, list[Places], list[str]]:
    """The ids of the items, and the row of each item in every file, `[items]`; remarks."""
    columns = [file.column(IDS, wanted.id) for file in files]
    lacking = [file.path for file, name in zip(files, columns, strict=True) if name is None]
    if 0 < len(lacking) < len(files):
        raise UserError(
            lacking[0], reason="has no ids, but other files have", allowed=f"a column {IDS[0]} in every file"
        )
    if lacking:
        rows = {file.path: len(file.table) for file in files}
        if len(set(rows.values())) > 1:
            allowed = f"a column {IDS[0]} in each, or equally many rows"
            raise UserError("files", reason=f"have {list(rows.values())} rows and no ids", allowed=allowed)
        order = np.arange(len(files[0].table))
        return pa.array(order), [order] * len(files), ["Rows are matched by their order, since there are no ids."]
    ids = [file.values(name) for file, name in zip(files, columns, strict=True) if name is not None]
    if len({of.type for of in ids}) > 1:
        ids = [of.cast(pa.string()) for of in ids]
    for file, name, of in zip(files, columns, ids, strict=True):
        if pc.count_distinct(of).as_py() < len(of):
            twice = of.value_counts().filter(pc.greater(of.value_counts().field("counts"), 1))[0].as_py()
            raise file.mistake(str(name), twice["values"], reason=f"stands in {twice['counts']} rows")
    kept = ids[0]
    for file, of in zip(files, ids, strict=True):
        if of.equals(kept):
            continue
        there = pc.is_in(kept, value_set=of)
        strange = kept.filter(pc.invert(there)), of.filter(pc.invert(pc.is_in(of, value_set=kept)))
        if not wanted.common and any(map(len, strange)):
            fewer, more = map(len, strange)
            reason = f"lacks {fewer:,} items and has {more:,} others, such as {pa.concat_arrays(strange)[0]}"
            raise UserError(file.path, reason=reason, allowed="the ids of the first file; --common takes those of all")
        kept = kept.filter(there)
    most, remarks = max(map(len, ids)), []
    if len(kept) < most:
        remarks.append(f"Only the {len(kept):,} items that every file has count; one file has {most:,}.")
    order = np.arange(len(kept))
    places = [order if of.equals(kept) else pc.index_in(kept, value_set=of).to_numpy() for of in ids]
    return kept, places, remarks


def _labels_of_all(
    files: Sequence[PredictionFile], labels: Sequence[Labels | None], ids: pa.Array, class_names: Sequence[str]
) -> Places | None:
    """The labels, of which no two files may have different ones."""
    known = [(file, of) for file, of in zip(files, labels, strict=True) if of is not None]
    for file, of in known[1:]:
        first, truth = known[0]
        differ = np.flatnonzero(of != truth)
        if len(differ):
            one, other = class_names[truth[differ[0]]], class_names[of[differ[0]]]
            reason = f"{len(differ):,} labels differ: item {ids[differ[0]]} is {other} here and {one} in {first.path}"
            raise UserError(file.path, reason=reason, allowed="the same labels in every file")
    return known[0][1].astype(np.int64) if known else None


def _groups(files: Sequence[PredictionFile], places: Sequence[Places], name: str) -> Classes:
    """The group of each item, in which all files that have the column must agree."""
    found = [
        (file, file.values(name, missing=NO_GROUP).take(pa.array(place)))
        for file, place in zip(files, places, strict=True)
        if name in file.table.column_names
    ]
    if not found:
        raise UserError("groups", name, reason="is a column of no file", allowed=", ".join(files[0].table.column_names))
    first, groups = found[0]
    for file, other in found[1:]:
        if not other.equals(groups):
            row = pc.index(pc.equal(other, groups), False).as_py()
            reason = f"an item is of the group {other[row]} here and {groups[row]} in {first.path}"
            raise file.mistake(name, reason=reason, allowed="the same groups in every file")
    encoded = groups.dictionary_encode()
    return encoded.indices.to_numpy(), tuple(encoded.dictionary.to_pylist())

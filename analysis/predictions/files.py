"""One file of predictions, of any framework: CSV, Parquet or npz.

It has a row for each item: perhaps its id and label, and its predicted class or the probabilities of all classes.
"""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from dbviz_ray.errors import UserError, one_line
from dbviz_ray.store.files import decoded

IDS = ("id", "item", "item_id", "image", "image_id", "sample", "sample_id", "index", "file", "filename", "path")
LABELS = ("label", "true_label", "true", "truth", "target", "y_true")
PREDICTIONS = ("prediction", "predicted", "pred", "y_pred", "predicted_label")
PROBABILITIES = ("probabilities", "probability", "probs", "proba", "y_prob")
"""What columns may be called; the first of these names that a file has counts."""
PREFIXES = ("probability_", "prob_", "proba_")
"""Of columns that hold the probability of one class, whose name follows."""
CLASS_NAMES = "class_names"
"""The array of a .npz file that names the classes of its probabilities."""
KINDS = (".parquet", ".csv", ".csv.gz", ".npz")
_WITH_FRACTION = re.compile(r"[-+]?\d+\.\d*")
ROUNDING = 0.01
"""Probabilities may sum to 1 up to this: those of half precision do."""
Classes = tuple[NDArray[Any], Sequence[str]]
"""A class for each row, `[rows]`, as numbers, and the names of these."""


@dataclass(frozen=True)
class PredictionFile:
    """A file that was read."""

    path: str
    table: pa.Table
    class_names: tuple[str, ...] | None
    """Of the probabilities."""
    sha256: str

    def column(self, usual: Sequence[str], named: str | None = None) -> str | None:
        """The column that the user named, or the first of the usual ones; None if there is none."""
        there = self.table.column_names
        if named is not None and named not in there:
            raise UserError(self.path, reason=f"has no column {named}", allowed=", ".join(there))
        return named or next((name for called in usual for name in there if name.lower() == called), None)

    def values(self, name: str, missing: str | None = None) -> pa.Array:
        """A column, as texts if `missing` stands for missing values; UserError if there are any otherwise."""
        column = self.table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # too long for one chunk
            column = pa.concat_arrays(column.chunks)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_float16(column.type):
            column = column.cast(pa.float32())
        if pa.types.is_fixed_size_list(column.type) and column.type.list_size == 1:  # as Keras writes them
            column = column.flatten()
        if missing is not None:
            return pc.fill_null(column.cast(pa.string()), missing)
        if column.null_count:
            raise self.mistake(name, reason=f"has no value in row {pc.index(column.is_null(), True)}")
        return column

    def classes(self, name: str) -> Classes:
        """The classes in a column. Numbers and texts that look alike are the same class."""
        column = self.values(name)
        if pa.types.is_nested(column.type):
            raise self.mistake(name, reason="holds lists", allowed="one class for each item")
        found = column.dictionary_encode()
        return found.indices.to_numpy(), [self._class_name(name, value) for value in found.dictionary.to_pylist()]

    def predicted(self, named: str | None) -> Classes:
        """The predicted classes: those of a column, or else the most probable ones."""
        name = self.column(PREDICTIONS, named)
        if name is not None:
            return self.classes(name)
        name, values, names = self._probabilities()
        sums = values.sum(axis=1, dtype=float)
        wrong = ~((values >= 0).all(axis=1) & (np.abs(sums - 1) <= ROUNDING))  # so NaN is wrong, too
        if wrong.any():
            row = int(wrong.argmax())
            reason = f"sums to {sums[row]:.4g} in row {row}; {int(wrong.sum()):,} rows are no probabilities"
            allowed = "numbers from 0 to 1 whose sum is 1; of other scores, give the predicted class"
            raise self.mistake(name, reason=reason, allowed=allowed)
        return values.argmax(axis=1), names

    def mistake(self, column: str, value: Any = None, **told: str) -> UserError:
        """An error about a column, or a value in it."""
        return UserError(f"{self.path}, {column}", *[value] * (value is not None), **told)

    def _numbers(self, name: str) -> NDArray[Any]:
        column = self.values(name)
        try:
            return np.asarray(column.cast(pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            raise self.mistake(name, column[0].as_py(), allowed="numbers from 0 to 1") from None

    def _class_name(self, column: str, value: Any) -> str:
        if isinstance(value, str) and not _WITH_FRACTION.fullmatch(value):
            return value
        value = float(value) if isinstance(value, str) else value
        with suppress(TypeError, ValueError, OverflowError):
            if int(value) == value:
                return str(int(value))
        allowed = "classes, which are whole numbers or texts; or the probabilities of all classes"
        raise self.mistake(column, value, allowed=allowed)

    def _probabilities(self) -> tuple[str, NDArray[Any], Sequence[str]]:
        """A column's name for messages, probabilities `[rows, classes]`, and the names of the classes."""
        name = self.column(PROBABILITIES)
        if name is None:
            each = [name for name in self.table.column_names if name.lower().startswith(PREFIXES)]
            if len(each) < 2:
                reason = f"has no predictions among its columns {', '.join(self.table.column_names)}"
                allowed = f"{PREDICTIONS[0]}, {PROBABILITIES[0]}, or {PREFIXES[0]}CLASS for each class"
                raise UserError(self.path, reason=reason, allowed=f"{allowed}; --prediction names another column")
            values = np.stack([self._numbers(one) for one in each], axis=1)
            name, names = each[0], [one.partition("_")[2] for one in each]
        else:
            column = self.values(name)
            if not pa.types.is_nested(column.type) or not hasattr(column, "flatten"):
                raise self.mistake(name, reason=f"holds {column.type}", allowed="a list of numbers for each item")
            if pc.count_distinct(pc.list_value_length(column)).as_py() > 1:
                raise self.mistake(name, reason="its lists differ in length", allowed="a number for each class")
            values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
            names = list(self.class_names or map(str, range(values.shape[1])))
        if len(names) != values.shape[1]:
            raise self.mistake(name, reason=f"{values.shape[1]} numbers for {len(names)} {CLASS_NAMES}")
        if values.dtype.kind not in "fiu":
            raise self.mistake(name, reason=f"holds {values.dtype}", allowed="numbers from 0 to 1")
        return name, values, names


def read_file(path: str, where: Mapping[str, Any] | None = None) -> PredictionFile:
    """A file of predictions: the rows that have these values in these columns. UserError if there are none."""
    if not path.endswith(KINDS):
        raise UserError(path, reason="has an unknown ending", allowed=", ".join(KINDS))
    names = None
    try:
        content = Path(path).read_bytes()
        if path.endswith(".parquet"):
            table, _ = decoded(pa.PythonFile(pa.BufferReader(content)))
        elif path.endswith(".npz"):
            table, names = _table_of_arrays(content)
        else:
            names_there = pyarrow.csv.open_csv(path).schema.names
            as_text = dict.fromkeys(names_there, pa.string())  # else 001 would be 1, and yes or no a truth value
            options = pyarrow.csv.ConvertOptions(column_types=as_text, strings_can_be_null=True, null_values=[""])
            table = pyarrow.csv.read_csv(path, convert_options=options)
    except Exception as error:  # a broken file makes a reader raise anything
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise UserError(path, reason=f"cannot be read ({reason})") from None
    twice = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
    if twice is not None:
        raise UserError(path, reason=f"has two columns {twice}", allowed="columns with different names")
    for name, value in (where or {}).items():
        if name not in table.column_names:
            raise UserError("where", name, reason=f"is no column of {path}", allowed=", ".join(table.column_names))
        table = table.filter(pc.equal(table[name].cast(pa.string()), pa.scalar(value).cast(pa.string())))
    if not len(table):
        raise UserError(path, reason="has no rows that --where asks for" if where else "has no rows")
    return PredictionFile(path, table, names, hashlib.sha256(content).hexdigest())


def _table_of_arrays(content: bytes) -> tuple[pa.Table, tuple[str, ...] | None]:
    """The arrays of a .npz file as columns, those of two axes as lists; and the names of its classes."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: np.asarray(file[name]) for name in file.files}
    names = arrays.pop(CLASS_NAMES, None)
    columns = {}
    for name, values in arrays.items():
        if values.ndim == 1:
            columns[name] = pa.array(values.tolist() if values.dtype.kind in "US" else values)
        elif values.ndim == 2:
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    return pa.table(columns), None if names is None else tuple(map(str, names.tolist()))

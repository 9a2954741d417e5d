"""Every row of docs/sentences.md: tables with which the sentence is said, and tables just beyond its condition."""

import itertools
import re
from typing import Any, NamedTuple

import pandas as pd
import pytest
from support import table_rows
from support.documents import ROOT
from support.group_tables import DESCENT, between_groups, found_in, groups, rates, recipes
from support.table_rows import KEY, NAN, ONE_SIDE, PARTS, TRAININGS, of_grid, of_margins, of_stream, with_ends

Tables = dict[str, Any]


class Said(NamedTuple):
    """The tables with which the words of a row are said, and those with which they are not."""

    by: list[Tables]
    not_by: list[Tables]


def sweep(table: pd.DataFrame, **others: list[dict[str, Any]]) -> Tables:
    """What `found_in` takes."""
    return {"table": table} | {name: pd.DataFrame(rows) for name, rows in others.items()}


def peak(p: float, dip: float | None = None, dips: tuple[int, int] = (4, 8), **columns: Any) -> Tables:
    """A curve whose peak of the error, at widths 8 to 16, and dip of the agreement have these p-values."""
    row = KEY | {"score": "test_error", "width": 8, "n_models": 12, "width_low": 8, "width_high": 16, "p_value": p}
    of_dip = {"score": "reproducibility", "width_low": dips[0], "width_high": dips[1], "p_value": dip}
    rows = [row | {"interval_covers": "models and images"}, row | of_dip | {"interval_covers": TRAININGS}]
    return sweep(groups(DESCENT, **columns), peaks=rows[: 1 if dip is None else 2])


def apart(low: float, p: float = 0.01, covers: str = TRAININGS, turned: bool = False) -> Tables:
    """The same curve; the agreement at the widest is .3 above that at the peak, in the row of either order."""
    value, widths = (-0.3, (8, 16)) if turned else (0.3, (16, 8))
    of = table_rows.of_difference("reproducibility", value, 0.3 - low, covers, width=widths)
    return peak(p) | sweep(groups(DESCENT), differences=[of])


def learned(share: float) -> Tables:
    """A share of the false labels at the widest; all before it."""
    return sweep(groups(DESCENT, false_labels_learned=[0.1, 1.0, 1.0, share]))


def trained(error: float, before: float = 0.0) -> Tables:
    """Training errors at the widest, and before it; no false labels."""
    return sweep(groups(DESCENT, [before, before, before, error], label_noise=0.0))


def over_epochs(errors: list[float], reach: float, curves: int = 1) -> Tables:
    each = (groups(errors, reach=reach, width=2**place, epoch=[1, 10, 100, 1000]) for place in range(curves))
    return sweep(pd.concat(each))


def on_planes(plane_sets: int, count: int, widths: int = 1) -> Tables:
    names = itertools.product(range(plane_sets), range(count))
    return sweep(pd.concat(groups([0.3] * widths, architecture=f"net{b}", plane_set=f"set{a}") for a, b in names))


def students(low: float, high: float, covers: str = TRAININGS, start: bool = False) -> Tables:
    """The ends of the difference between students and undistilled models."""
    table = recipes()
    row = {"label_noise": 0.2, "plane_set": "test", "same_start": start, "difference_interval_covers": covers}
    for role, index in (("student", 1), ("teacher", 2), ("control", 0)):
        row |= {f"{role}_{part}": table[part][index] for part in PARTS}
    row |= with_ends("student_agreement", 0.8) | with_ends("control_agreement", 0.6)
    return sweep(table, distillation=[row | with_ends("difference", (low + high) / 2, (high - low) / 2)])


def with_margins(found: float = 1.0, mislabelled: float = NAN, widths: tuple[int, ...] = (4, 8, 16)) -> Tables:
    rows = [of_margins(width, 2.0, 2.0 + mislabelled - mislabelled, mislabelled, found) for width in widths]
    return sweep(groups([0.3] * len(rows)).assign(**pd.DataFrame(rows)))


def with_streams(*rows: dict[str, Any]) -> Tables:
    return {"table": groups([0.3]), "streams": pd.DataFrame(rows, columns=list(of_stream(("init",), 0.0)))}


def with_grids(widths: int, *rows: dict[str, Any]) -> Tables:
    return sweep(groups([0.3] * widths), resolution=[*rows])


ONE, TWO = sweep(groups([0.3])), sweep(groups([0.3, 0.2], reproducibility=[0.7, 0.9]))
ALONE, OTHERS = with_streams(of_stream(("init",), 0.9)), with_streams(of_stream(("init",), NAN, own=0.3))
ON_PLANES_ALONE = with_streams(of_stream(("init",), 0.9, total_share_interval_covers="planes"))
GRIDS = [of_grid("grid", 25, 3.0, 2.0), of_grid("grid", 49, 3.5, 2.1), of_grid("extrapolated", None, NAN, 2.2)]
FALLING = [0.7, 0.3, 0.2, 0.1]
FEW = {"reproducibility_interval_covers": "planes", "n_models": 2}
RECIPES = {"recipe": ["SGD", "SGD+SAM"], "sharpness": [0.5, 0.02]}
TOLD, UNTOLD = [peak(0.01), peak(0.05)], [peak(0.01, **FEW), peak(0.05, **FEW)]
TOGETHER = [peak(0.01, 0.01, (4, 8)), peak(0.01, 0.01, (16, 32))]
APART = [peak(0.01, 0.01, (2, 4)), peak(0.01, 0.01, (32, 64))]
MORE, LESS, ALIKE = [students(0.001, 0.4)], [students(-0.4, -0.001)], [students(0.0, 0.4), students(-0.4, 0.0)]
UNKNOWN = [students(0.1, 0.4, ONE_SIDE), students(-0.4, -0.1, "planes"), students(-0.4, 0.4, ONE_SIDE)]
ENDS = [sweep(rates([0.1, 0.2, 0.3])), sweep(rates([0.3, 0.2, 0.1]))]
CASES = {
    "double descent (p": Said([peak(0.049)], [peak(0.05), peak(NAN)]),
    "no double descent beyond": Said([peak(0.05), sweep(groups(FALLING))], [peak(0.049), peak(NAN)]),
    "do not tell": Said(
        [peak(NAN), sweep(groups(FALLING, n_models=[3, 3, 3, 1]))], [*TOLD, sweep(groups(FALLING, n_models=2))]),
    "The peak lies": Said([peak(0.049)], [peak(0.05), peak(NAN)]),
    "The dip of the agreement lies": Said([peak(0.01, 0.049)], [peak(0.01, 0.05), peak(0.05, 0.01), peak(0.01, NAN)]),
    "perhaps at": Said(TOGETHER, [*APART, peak(0.01, 0.05)]),
    "not at": Said(APART, [*TOGETHER, peak(0.01, 0.05, (2, 4))]),
    "may be chance": Said([peak(0.01, 0.05)], [peak(0.01, 0.049), peak(0.01, NAN), peak(0.05, 0.05)]),
    "two trainings agree on": Said(TOLD, [*UNTOLD, peak(0.01, reproducibility=NAN)]),
    "these trainings agree on": Said(UNTOLD, TOLD),
    "less alike": Said(
        [apart(0.001), apart(0.001, turned=True)],
        [apart(0.0), apart(-0.001, turned=True), apart(0.001, 0.05), apart(0.001, covers="planes"), peak(0.01)]),
    "a difference of": Said(
        [apart(0.001), apart(-0.1), apart(0.1, turned=True)], [apart(0.1, covers=ONE_SIDE), apart(0.1, 0.05)]),
    "regions at the peak": Said([peak(0.049)], [peak(0.05), peak(0.01, fragmentation=NAN)]),
    "10% from": Said([trained(0.1), trained(0.0, before=0.2)], [trained(0.101)]),
    "10% at no": Said([trained(0.101)], [trained(0.1, before=0.2)]),
    "of the false labels": Said([learned(0.99)], [learned(0.989), trained(0.0)]),
    "of the training labels": Said([trained(0.009)], [trained(0.011), learned(1.0)]),
    "learned at no": Said([learned(0.989), trained(0.011)], [learned(0.99), trained(0.009)]),
    "double descent over the epochs:": Said([over_epochs(DESCENT, 0.049)], [over_epochs(DESCENT, 0.051)]),
    "no double descent over the": Said([over_epochs(DESCENT, 0.051)], [over_epochs(DESCENT, 0.049)]),
    "curves over the epochs": Said(
        [over_epochs(DESCENT, 0.049, 5), over_epochs(DESCENT, 0.051, 5)], [over_epochs(DESCENT, 0.049, 4)]),
    "trainings of X": Said([ONE], [TWO, sweep(groups([0.3], **FEW)), peak(0.01)]),
    "agree most for X": Said([TWO], [ONE, sweep(groups([0.3, 0.2], **FEW))]),
    '"these trainings ...': Said([sweep(groups([0.3], **FEW)), sweep(groups([0.3, 0.2], **FEW))], [ONE, TWO]),
    "those of X": Said(*([{"table": recipes(), "between": between_groups(recipes(), n)}] for n in (2, 1))),
    "regions in a plane": Said([on_planes(2, 6)], [on_planes(1, 1), on_planes(2, 7), on_planes(2, 1, widths=3)]),
    "end of their grid": Said(ENDS, [sweep(rates([0.2, 0.1, 0.3])), ONE]),
    "smallest test error": Said([sweep(rates(FALLING, tested_on="test"))], [sweep(rates(FALLING)), ONE]),
    "students ...": Said([*MORE, *UNKNOWN], [sweep(recipes())]),
    "both start from": Said([students(0.1, 0.3, start=True)], MORE),
    "teachers more": Said(MORE, [*LESS, *ALIKE, *UNKNOWN]),
    "teachers less": Said(LESS, [*MORE, *ALIKE, *UNKNOWN]),
    "no difference beyond": Said(ALIKE, [*MORE, *LESS, *UNKNOWN]),
    "on these trainings alone": Said(UNKNOWN, [*MORE, *LESS, *ALIKE]),
    "sharpness ...": Said([sweep(groups([0.1, 0.1], width=4, **RECIPES))], [sweep(groups([0.1, 0.1], **RECIPES))]),
    "measured images": Said([with_margins()], [with_margins(widths=(4, 8)), with_margins(mislabelled=1.0), peak(0.01)]),
    "correctly labelled": Said([with_margins(mislabelled=1.5)], [with_margins()]),
    "met no other class": Said([with_margins(found=0.99)], [with_margins()]),
    "changing one": Said([ALONE], [OTHERS, with_streams()]),
    "fixing one": Said([OTHERS], [ALONE, with_streams()]),
    "over seeds and planes": Said([ALONE], [ON_PLANES_ALONE]),
    "intervals over planes": Said([ON_PLANES_ALONE], [ALONE]),
    "grid gets finer": Said([with_grids(3, *GRIDS)], [with_grids(3), with_grids(2, *GRIDS)]),
    "trainings diverged": Said([sweep(groups([0.3], n_diverged=1))], [sweep(groups([0.3], n_failed=1))]),
    "trainings failed": Said([sweep(groups([0.3], n_failed=2))], [sweep(groups([0.3], n_diverged=2))]),
    "learned nothing": Said([sweep(groups([0.3], n_constant=1))], [ONE]),
}  # fmt: skip
"""By words of a row's first cell."""


def rows() -> list[str]:
    """The first cells of docs/sentences.md."""
    return re.findall(r"^\| (?!it says)(.+?) \| ", (ROOT / "docs/sentences.md").read_text(), flags=re.MULTILINE)


def test_every_row_has_its_case_and_every_case_its_row():
    assert ([sum(words in row for row in rows()) for words in CASES], len(CASES)) == ([1] * len(rows()), len(rows()))


@pytest.mark.parametrize("words", CASES)
def test_it_is_said_when_its_condition_holds_and_not_otherwise(words):
    (row,) = (row for row in rows() if words in row)
    (quoted,) = re.findall('"(.+)"', row)
    pattern = re.sub(r"\b[WLHNMXY]\b", ".+", re.escape(quoted).replace(r"\.\.\.", ".*"))
    for tables in CASES[words].by:
        assert re.search(pattern, "\n".join(found_in(**tables).sentences)), tables
    for tables in CASES[words].not_by:
        assert not re.search(pattern, "\n".join(found_in(**tables).sentences)), tables

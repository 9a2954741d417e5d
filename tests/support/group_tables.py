"""Tables `groups` from a few numbers, with their findings and summary."""

import pandas as pd
from support.table_rows import KEY, NAN, PARTS, with_ends

from dbviz_ray.analysis.findings import Findings, find
from dbviz_ray.analysis.findings.curves import WIDTH, curves
from dbviz_ray.analysis.findings.rows import ROWS
from dbviz_ray.analysis.findings.summary import summary_text
from dbviz_ray.analysis.tables.groups import PEAKS
from dbviz_ray.analysis.tables.pairs import DIFFERENCES
from dbviz_ray.analysis.tables.recipes import by_recipe, compares_recipes

UNKNOWN = ("margin", "margin_correct", "margin_mislabelled", "false_labels_learned")
BETWEEN = pd.DataFrame(columns=["label_noise", "plane_set"])
DESCENT = [0.7, 0.2, 0.3, 0.1]
"""Test errors with a peak."""


def groups(test, train=None, reach=0.01, **columns):
    """Rows of the table `groups`, one for each test error; `columns` replace what they have in common."""
    table = pd.DataFrame({"test_error": test, "train_error": train or 0.0})
    widths = {"width": [2**n for n in range(1, len(test) + 1)]}
    counts = {"n_models": 3, "n_diverged": 0, "n_failed": 0, "n_planes": 6, "n_constant": 0, "tested_on": "test"}
    scores = {"reproducibility": 0.5, "fragmentation": 5.0, "sharpness": 0.04} | dict.fromkeys(UNKNOWN, NAN)
    table = table.assign(**(KEY | widths | counts | scores | columns))
    for score in ("test_error", "train_error", "reproducibility", "fragmentation", "sharpness", *UNKNOWN):
        table[f"{score}_low"], table[f"{score}_high"] = (table[score] - reach).clip(lower=0), table[score] + reach
    return table


def curve(test, train=None, reach=0.01, axis=WIDTH, **columns):
    (one,) = curves(groups(test, train, reach, **columns), axis)
    return one


def found_in(table, between=BETWEEN, **tables):
    """The findings of a table `groups`, once through JSON."""
    found = find(tables_with(table, between, **tables))
    return Findings(ROWS.validate_json(ROWS.dump_json(found.rows)))


def summary_of(table, **tables):
    return summary_text(found_in(table, **tables), tables_with(table, **tables))


def tables_with(table, between=BETWEEN, **tables):
    recipes = {"by_recipe": by_recipe(table)} if compares_recipes(table) else {}
    names = {"peaks": ["plane_set", *PEAKS], "differences": ["plane_set", *DIFFERENCES], "resolution": []}
    empty = {name: pd.DataFrame(columns=columns) for name, columns in names.items()}
    return {"groups": table, "between_groups": between} | recipes | empty | tables


def recipes():
    """Two networks and two recipes; one of the four groups diverged."""
    nets = groups([0.1, 0.2], recipe=["Adam", "SGD+SAM"], width=64, reproducibility=[0.8, 0.9])
    vits = groups([0.3, NAN], recipe=["Adam", "SGD+SAM"], width=32, reproducibility=[0.6, NAN],
                  architecture="vit", options="patch_size=2", n_models=[3, 0], n_diverged=[0, 3])  # fmt: skip
    return pd.concat([nets, vits], ignore_index=True)


def rates(test, **columns):
    settings = {"width": 8, "learning_rate": [10.0**n for n in range(-len(test), 0)], "tested_on": "held-out"}
    return groups(test, **(settings | columns))


def between_groups(table, pairs):
    """The first pairs of the first group with others: they agree on 70 %, 50 %, ... of the points."""
    row = {"plane_set": "test", "label_noise": 0.2} | {f"{part}_a": table[part][0] for part in PARTS}
    others = [{f"{part}_b": table[part][1 + place] for part in PARTS} for place in range(pairs)]
    ends = [with_ends("reproducibility", 0.7 - place / 5) for place in range(pairs)]
    return pd.DataFrame([row | other | end for other, end in zip(others, ends, strict=True)])

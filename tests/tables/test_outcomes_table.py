"""The table `outcomes`, and that `groups` counts what it says."""

import pandas as pd
import pytest
from conftest import small_sweep
from support.made_up_runs import REASON, compared_sweep, let_fail, made_up_run

from dbviz_ray.analysis.scores.groups import KIND
from dbviz_ray.analysis.tables import NoModelsError, compute_tables, read_table, write_tables
from dbviz_ray.analysis.tables.outcomes import OUTCOMES
from dbviz_ray.store.models import Failure, Outcome

SETS = {"test": {"count": 3, "resolution": 6}, "train": {"count": 2, "resolution": 6, "images": "train"}}


def lost_in(model):
    """All ViTs with SGD and the first with Adam; one fully connected network with SGD."""
    if model.architecture == "vit":
        return "train" if model.recipe == "SGD" else "evaluate" * (model.seeds.init == 0)
    return "evaluate" * ((model.recipe, model.seeds.init) == ("SGD", 2))


def test_each_model_and_each_group_tells_how_it_ended(tmp_path):
    sweep = compared_sweep(planes=SETS)
    store = made_up_run(tmp_path, sweep, lambda m: m.seeds.init == 1 and (m.architecture, m.recipe) != ("vit", "Adam"))
    let_fail(store, sweep, lost_in)
    tables = compute_tables(store, sweep)
    table = tables["outcomes"]
    assert table.columns.tolist() == OUTCOMES
    assert table["model_id"].tolist() == [model.model_id for model in sweep.models()]
    ends = {"": "done", "train": "bad configuration", "evaluate": "failed"}
    for model, row in zip(sweep.models(), table.to_dict(orient="records"), strict=True):
        named, told = (row["architecture"], row["recipe"], row["order_seed"]), (row["outcome"], row["stage"])
        assert named == (model.architecture, model.recipe, model.seeds.order)
        if model.architecture == "fully_connected" and model.seeds.init == 1:
            assert told == ("diverged", "train")
            assert "epoch 2" in row["reason"]
        else:
            assert (*told, row["reason"]) == (ends[lost_in(model)], lost_in(model), REASON * bool(lost_in(model)))
    groups = tables["groups"]
    assert len(groups) == 4 * 2 * 2  # kinds, kept epochs, plane sets
    columns = ["architecture", "recipe", "n_models", "n_diverged", "n_failed"]
    counts = [["fully_connected", "Adam", 2, 1, 0], ["fully_connected", "SGD", 1, 1, 1], ["vit", "Adam", 2, 0, 1],
              ["vit", "SGD", 0, 0, 3]]  # fmt: skip
    for counted in (groups, tables["by_recipe"]):
        assert counted[columns].drop_duplicates().sort_values(columns).to_numpy().tolist() == counts
    write_tables(store, tables)
    # With empty cells, whole numbers are read as floats.
    pd.testing.assert_frame_equal(read_table(store, "outcomes"), table.astype({"train_set_seed": float}))
    kinds = (set(of[KIND].itertuples(index=False, name=None)) for of in (groups, table))
    assert next(kinds) == next(kinds)


@pytest.mark.parametrize(
    ("diverged", "failed", "how"), [(12, 0, "diverged"), (0, 12, "failed"), (4, 8, "diverged or failed")]
)
def test_where_no_model_is_left_there_are_no_tables_but_this_one(tmp_path, diverged, failed, how):
    sweep = small_sweep()
    numbers = {model.model_id: number for number, model in enumerate(sweep.models())}
    store = made_up_run(tmp_path, sweep, lambda model: numbers[model.model_id] < diverged)
    let_fail(store, sweep, lambda model: "train" if numbers[model.model_id] >= 12 - failed else "")
    with pytest.raises(NoModelsError, match=f"12 models {how};") as caught:
        compute_tables(store, sweep)
    outcomes = caught.value.outcomes["outcome"]
    assert ((outcomes == "diverged").sum(), (outcomes == "bad configuration").sum()) == (diverged, failed)


def test_a_model_with_a_failure_is_left_out_whatever_is_stored_of_it(tmp_path):
    """One that diverged and then could not be evaluated counts once."""
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1, 2, 3]})
    store = made_up_run(tmp_path, sweep, lambda model: model.seeds.init == 0)
    for model, outcome in zip(sweep.models(), (Outcome.CRASHED, Outcome.OUT_OF_MEMORY), strict=False):
        store.write_failure(Failure(model.model_id, "evaluate", outcome, "its process died"))
    tables = compute_tables(store, sweep)
    assert tables["outcomes"]["outcome"].tolist() == ["crashed", "out of memory", "done", "done"]
    assert tables["groups"][["n_models", "n_diverged", "n_failed"]].iloc[0].tolist() == [2, 0, 2]
    assert tables["models"]["init_seed"].tolist() == [2, 3]

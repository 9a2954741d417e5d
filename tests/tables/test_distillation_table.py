"""The table `distillation` against a naive computation from the stored files."""

import itertools

import numpy as np
import pytest
from support.made_up_runs import distilled_sweep, labels_of_kind, made_up_run

from dbviz_ray.analysis.tables import compute_tables


def test_students_are_compared_with_their_own_teachers(tmp_path):
    """The teachers are ViTs: ViT students start from the same weights, and their controls are the other teachers."""
    sweep = distilled_sweep({"architecture": "vit"})
    store = made_up_run(tmp_path, sweep)
    table = compute_tables(store, sweep)["distillation"].set_index("student_architecture")
    teachers = labels_of_kind(store, sweep, "vit", "alone")
    for architecture in ("vit", "fully_connected"):
        row = table.loc[architecture]
        students = labels_of_kind(store, sweep, architecture, "distilled")
        own = np.mean([(s == t).mean() for s, t in zip(students, teachers, strict=True)])
        assert row["student_agreement"] == pytest.approx(own)
        assert row["student_agreement_low"] < own < row["student_agreement_high"]
        assert row["difference"] == pytest.approx(own - row["control_agreement"])
        assert (row["teacher_architecture"], row["control_recipe"]) == ("vit", "alone")
        assert (row["n_students"], row["n_teachers"], row["n_controls"]) == (3, 3, 3)
    apart = [(a == b).mean() for a, b in itertools.combinations(teachers, 2)]
    assert table.loc["vit"]["control_agreement"] == pytest.approx(np.mean(apart))
    others = labels_of_kind(store, sweep, "fully_connected", "alone")
    crossed = [(a == b).mean() for a, b in itertools.product(teachers, others)]
    assert table.loc["fully_connected"]["control_agreement"] == pytest.approx(np.mean(crossed))
    assert table["same_start"].to_dict() == {"vit": True, "fully_connected": False}


def test_the_one_teacher_of_all_students_is_not_its_own_control(tmp_path):
    sweep = distilled_sweep({"architecture": "vit", "seed": 0})
    store = made_up_run(tmp_path, sweep)
    row = compute_tables(store, sweep)["distillation"].set_index("student_architecture").loc["vit"]
    teacher, *others = labels_of_kind(store, sweep, "vit", "alone")
    assert row["control_agreement"] == pytest.approx(np.mean([(teacher == other).mean() for other in others]))
    assert (row["n_teachers"], row["control_agreement_interval_covers"]) == (1, "models of one side and planes")


def test_students_of_diverged_teachers_are_not_compared(tmp_path):
    sweep = distilled_sweep({"architecture": "vit"})
    store = made_up_run(tmp_path, sweep, lambda m: m.architecture == "vit" and m.teacher is None and m.seeds.init == 0)
    assert compute_tables(store, sweep)["distillation"]["n_students"].tolist() == [2, 2]

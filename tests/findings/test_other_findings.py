"""What is said of a sweep that has no curves."""

from __future__ import annotations

import pandas as pd
from test_findings import found_in, groups

from dbviz_ray.analysis.findings.sentences import sentence


def test_without_curves_the_agreement_of_trainings_is_told_and_what_changes_on_other_planes():
    table = groups([0.3, 0.2], reproducibility=[0.7, 0.9])
    other = table.assign(plane_set="noise", fragmentation=1.5, fragmentation_low=1.25, fragmentation_high=1.75)
    answers = found_in(pd.concat([table, other])).answers
    told = {question: list(map(sentence, findings)) for question, findings in answers.items()}
    assert told["Is it the same model if it is trained again?"] == [
        "label noise 0.2, test planes: two trainings agree most for net, width 4 (90.0% [89.0, 91.0] of the points) "
        "and least for net, width 2 (70.0% [69.0, 71.0])."
    ]
    assert told["What changes on other planes?"][0] == (
        "net, width 2, label noise 0.2: two trainings agree on this share of the points: 70.0% [69.0, 71.0] (test), "
        "70.0% [69.0, 71.0] (noise); regions in a plane: 5.00 [4.99, 5.01] (test), 1.50 [1.25, 1.75] (noise)."
    )
    (one,) = found_in(groups([0.3])).sentences
    assert one == "label noise 0.2, test planes: two trainings of net agree on 50.0% [49.0, 51.0] of the points."

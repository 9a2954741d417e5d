import pytest

from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.optimizers import schedule_factor


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ("constant", 100, {0: 1, 399: 1}),
        ("drops", 100, {0: 1, 151: 1, 152: 0.1, 251: 0.1, 252: 0.01, 351: 0.01, 352: 0.001, 399: 0.001}),
        ("drops", 8, {11: 1, 12: 0.1, 19: 0.1, 20: 0.01, 27: 0.01, 28: 0.001}),  # after 3, 5 and 7 epochs of 4 steps
        ("cosine", 100, {0: 1, 100: (1 + 0.5**0.5) / 2, 200: 0.5, 300: (1 - 0.5**0.5) / 2}),
        ("inverse_sqrt", 500, {0: 1, 511: 1, 512: 0.5**0.5, 1024: (1 / 3) ** 0.5, 1535: (1 / 3) ** 0.5, 1536: 0.5}),
    ],
)
def test_schedules_by_hand(schedule, epochs, expected):
    settings = TrainingConfig(schedule=schedule, epochs=epochs)
    made = {step: schedule_factor(settings, step, steps_per_epoch=4) for step in expected}
    assert made == pytest.approx(expected)

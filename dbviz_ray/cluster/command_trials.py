"""Trials of Ray Tune: what all share, and trainings by a user's own command as trials."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.execution import class_cache

from dbviz_ray.cluster.commands import Hear
from dbviz_ray.errors import StorageError, printable
from dbviz_ray.scripts.recipe import Trial
from dbviz_ray.scripts.running import outcome_of, run
from dbviz_ray.terminal import interruption

# Tune would give trials an environment of their own, with AWS keys that Ray then logs. Without one, they also take the
# processes that Ray has started in advance.
class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = {}, set()


class Watcher(tune.Callback):  # type: ignore[misc]
    """Hears of trials, and ends the command when it is interrupted."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune stores its callbacks, but nothing restores them."""
        return {}

    def on_step_end(self, **info: Any) -> None:
        """Called after every step of Tune."""
        interruption.check()


def run_in_trials(trials: Sequence[Trial], room: Mapping[str, float], retries: int, hear: Hear) -> None:
    """Run each training in a trial with this room. One whose process dies is tried again up to `retries` times."""
    named = {trial.name: trial for trial in trials}
    trainable = tune.with_parameters(run_in_trial, trials=named, retries=retries)
    with tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(trainable, {name: amount for name, amount in room.items() if amount}),
            param_space={"name": tune.grid_search(list(named))},
            tune_config=tune.TuneConfig(reuse_actors=True, trial_dirname_creator=lambda trial: trial.trial_id),
            run_config=tune.RunConfig(
                name="repeat",
                storage_path=scratch,
                verbose=0,
                callbacks=[_CommandWatcher(named, hear)],
                failure_config=tune.FailureConfig(max_failures=retries),
            ),
        ).fit()


def run_in_trial(config: Mapping[str, str], trials: Mapping[str, Trial], retries: int) -> dict[str, str]:
    """Run one training in the process of a trial. Tune would print a line for a trial without a result."""
    trial = trials[config["name"]]
    if not trial.folder.parent.is_dir():
        raise StorageError(f"{trial.folder.parent} is not visible here; --out must be a folder that all nodes share")
    run(trial, retries)
    return {"trained": trial.name}


class _CommandWatcher(Watcher):
    """Hands on how trials end."""

    def __init__(self, trials: Mapping[str, Trial], hear: Hear) -> None:
        self._trials, self._hear = trials, hear

    def on_trial_complete(self, trial: Any, **info: Any) -> None:
        own = self._trials[trial.config["name"]]
        self._hear(own, outcome_of(own) or "its outcome is not there")

    def on_trial_error(self, trial: Any, **info: Any) -> None:
        told = Path(trial.error_file).read_text("utf-8").splitlines() if trial.error_file else []
        reason = next((line for line in reversed(told) if line.strip()), "its process died")
        self._hear(self._trials[trial.config["name"]], printable(reason))

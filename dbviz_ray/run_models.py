"""Models that a sweep has trained, addressed by their folder: `runs/<sweep>/models/<model_id>`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import yaml
from torch import nn

from dbviz_ray.config import ModelConfig, ResourcesConfig
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.networks import facts_of_dataset
from dbviz_ray.records import DONE, MODEL, WEIGHTS, load_network
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.validation import validated

_ADDRESS = re.compile(r"^(?P<root>.+)/models/(?P<model_id>[^/]+)(/snapshots/epoch=(?P<epoch>\d+))?/*$")


@dataclass(frozen=True)
class RunModel:
    """A trained model of a run, and what is known about it without loading it."""

    store: Store
    config: ModelConfig
    epoch: int | None
    """The snapshot's, or None for the end of the training."""
    data_directory: str

    @property
    def weights_file(self) -> str:
        """Name of its weights within the run directory."""
        if self.epoch is None:
            return self.store.model_file(self.config.model_id, WEIGHTS)
        return self.store.snapshot_file(self.config.model_id, self.epoch, WEIGHTS)

    def network(self) -> nn.Module:
        """The module, on the CPU in evaluation mode."""
        facts = facts_of_dataset(self.config.dataset, self.data_directory)
        try:
            return load_network(self.store, self.config, facts.image_shape, facts.classes, self.epoch)
        except FileNotFoundError:
            raise UserError(f"{self.store.path(self.weights_file)}: is not there") from None


def find_run_model(address: str) -> RunModel | None:
    """The model whose folder (or `snapshots/epoch=...` folder) `address` is, a path or a URI; None if it is none.

    UserError for a model that is not complete, or whose training diverged.
    """
    parts = _ADDRESS.match(Store(address).root)
    if parts is None:
        return None
    store = Store(parts["root"])
    try:
        facts = store.read_json(store.model_file(parts["model_id"], MODEL))
    except FileNotFoundError:
        return None
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"{address}/{MODEL}: cannot be read ({one_line(error)})") from None
    if facts.get("outcome") != DONE:
        raise UserError(f"{address}: its training diverged; allowed: a model whose weights are of use")
    epoch = int(parts["epoch"]) if parts["epoch"] else None
    return RunModel(store, validated(ModelConfig, facts.get("config", {})), epoch, _data_directory(store))


def _data_directory(store: Store) -> str:
    """Where the run keeps its data sets; the usual place if it does not say."""
    usual = ResourcesConfig().data_directory
    try:
        sweep = yaml.safe_load(store.read(SWEEP_FILE))
    except (OSError, yaml.YAMLError):
        return usual
    resources = sweep.get("resources") if isinstance(sweep, dict) else None
    return str(resources.get("data_directory", usual)) if isinstance(resources, dict) else usual

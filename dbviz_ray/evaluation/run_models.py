"""Trained models of a sweep, addressed by their folder: `runs/<sweep>/models/<model_id>`.

The run may be somebody else's: code that its files name is imported only if the reader names it too, since
`torch.hub:load` exists on everybody's machine.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from torch import nn

from dbviz_ray.config import ModelConfig, ResourcesConfig
from dbviz_ray.config.sweep_files import loaded_yaml
from dbviz_ray.config.validation import validated
from dbviz_ray.datasets import facts_of_dataset
from dbviz_ray.errors import DamagedFileError, UserError, one_line
from dbviz_ray.evaluation.records import load_network
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.store.layout import MODEL, WEIGHTS
from dbviz_ray.store.models import Outcome

_ADDRESS = re.compile(r"^(?P<root>.+)/models/(?P<model_id>[^/]+)(/snapshots/epoch=(?P<epoch>[0-9]{1,9}))?/*$")


@dataclass(frozen=True)
class RunModel:
    """A trained model of a run, not yet loaded."""

    store: Store
    config: ModelConfig
    epoch: int | None
    """The epoch of a snapshot; None for the end of the training."""
    data_directory: str

    @property
    def weights_file(self) -> str:
        """Name of its weights within the run directory."""
        return self.store.model_file(self.config.model_id, WEIGHTS, self.epoch)

    def network(self) -> nn.Module:
        """The module, on the CPU in evaluation mode."""
        facts = facts_of_dataset(self.config.dataset, self.data_directory)
        return self.network_for(facts.image_shape, facts.classes)

    def network_for(self, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The same for known images (channels, height, width) and classes, without loading the data set."""
        if not self.store.exists(self.weights_file):
            raise UserError(self.store.path(self.weights_file), reason="does not exist")
        try:
            return load_network(self.store, self.config, image_shape, classes, self.epoch)
        except (DamagedFileError, OSError) as error:
            path = self.store.path(self.weights_file)
            raise UserError(path, reason=f"cannot be read ({one_line(error)})") from None


def find_run_model(address: str, trusted: Collection[str] = ()) -> RunModel | None:
    """The model in the folder `address` (a path or URI, perhaps of a snapshot); None if there is no model.

    UserError as from `run_model`.
    """
    parts = _ADDRESS.match(Store(address).root)
    if parts is None:
        return None
    epoch = int(parts["epoch"]) if parts["epoch"] else None
    try:
        return run_model(Store(parts["root"]), parts["model_id"], epoch, trusted, called=address)
    except (FileNotFoundError, NotADirectoryError):
        return None


def run_model(store: Store, model_id: str, epoch: int | None, trusted: Collection[str], called: str = "") -> RunModel:
    """A model of the run in `store`; messages name it `called`, by default its folder.

    FileNotFoundError if there is no such model. UserError if its files cannot be read, its training diverged, its
    folder is another model's, or its network or data set is code (`package.module:function`) outside `trusted`.
    """
    address = called or store.path(store.model_folder(model_id))
    try:
        facts = store.read_json(store.model_file(model_id, MODEL))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (DamagedFileError, OSError, RecursionError) as error:
        raise UserError(f"{address}/{MODEL}", reason=f"cannot be read ({one_line(error)})") from None
    if facts.get("outcome") != Outcome.DONE:
        raise UserError(address, reason="its training diverged", allowed="a model whose training did not diverge")
    fields = facts.get("config", {})
    unknown = next((code for code in _code_in(fields) if code not in trusted), None)
    if unknown is not None:
        reason = f"names the code {unknown!r}, which would be imported and run"
        allowed = f"registered networks and data sets, or code that you trust: --trust {unknown!r}"
        raise UserError(f"{address}/{MODEL}", reason=reason, allowed=allowed)
    config = validated(ModelConfig, fields)
    if config.model_id != model_id:
        reason = f"describes the model {config.model_id}"
        raise UserError(f"{address}/{MODEL}", reason=reason, allowed="the model of its folder")
    return RunModel(store, config, None if epoch == config.training.epochs else epoch, _data_directory(store))


def _code_in(config: Any) -> Iterator[str]:
    """The import strings in a model's configuration, before any of them is looked up."""
    for names in (("architecture",), ("dataset", "name"), ("training", "distillation", "architecture")):
        value = config
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str) and ":" in value:
            yield value


def _data_directory(store: Store) -> str:
    """The run's folder of data sets if it exists on this machine; else the default one."""
    try:
        sweep = loaded_yaml(store.read(SWEEP_FILE))
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        sweep = None
    resources = sweep.get("resources") if isinstance(sweep, dict) else None
    named = resources.get("data_directory") if isinstance(resources, dict) else None
    is_here = isinstance(named, str) and os.path.isdir(os.path.expanduser(named))
    return str(named) if is_here else ResourcesConfig().data_directory

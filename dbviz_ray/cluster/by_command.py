"""Trains one model of a sweep by the user's own command, and takes over the weights that it wrote."""

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from dbviz_ray.analysis.compare.checkpoints import load_weights, read_weights
from dbviz_ray.architectures import initialised_network
from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.cluster import Job
from dbviz_ray.config import ModelConfig
from dbviz_ray.datasets import Dataset, given_labels
from dbviz_ray.scripts.recipe import placeholders, trials_of
from dbviz_ray.scripts.running import is_done, last_line, outputs, run
from dbviz_ray.terminal import interruption
from dbviz_ray.training.cohort import HISTORY, TrainedModel

FOLDER, DATA = "commands", "data"
"""Of a run directory: what commands wrote; the placeholder of the sweep's images, and its file."""
BATCH = 500


def train_by_command(model: ModelConfig, dataset: Dataset, job: Job, device: torch.device) -> TrainedModel:
    """Run the command of `model.training`; in a run directory on a disk, its log and files stay in `FOLDER`.

    RuntimeError if it fails, UserError if what it wrote does not fit the architecture.
    """
    settings, store = model.training, job.store
    assert settings.command is not None
    labels = given_labels(dataset, model.dataset.noise_kind, model.label_noise, model.seeds.label_noise)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(store.root if store.is_local else scratch, FOLDER, model.model_id)
        # What placeholders stand for, beside the seed and the folder: the fields of the model.
        named, fields = placeholders(settings.command), {**settings.model_dump(), **model.options}
        values = {name: str(value) for name, value in fields.items() if isinstance(value, str | int | float)}
        values |= {"width": str(model.width), "label_noise": str(model.label_noise)}
        if DATA in named:
            folder.mkdir(parents=True, exist_ok=True)
            values[DATA] = str(folder / f"{DATA}.npz")
            np.savez(
                values[DATA],
                train_images=dataset.train_images.numpy(),
                train_labels=labels.numpy(),
                test_images=dataset.test_images.numpy(),
                test_labels=dataset.test_labels.numpy(),
            )
        used = {name: [value] for name, value in values.items() if name in named}
        [trial] = trials_of(settings.command, [model.seeds.init], used, folder, name="training", here=job.folder)
        if not is_done(trial) and (ended := run(trial, 0, interruption.check)).code != 0:
            raise RuntimeError(f"its command ended with exit code {ended.code}: {last_line(trial)} ({trial.folder})")
        files = outputs(trial, settings.weights)
        if not files:
            raise RuntimeError(f"its command wrote no file like {settings.weights} to {trial.written}")
        classes = len(dataset.class_names)
        network = initialised_network(model.architecture, model.width, dataset.image_shape, classes, 0, model.options)
        load_weights(network, read_weights(files[-1]), files[-1])
    network.to(device).eval()
    history = {name: torch.full((settings.epochs,), math.nan) for name in HISTORY}
    predictions = {}
    for split, given in (("train", labels), ("test", dataset.test_labels)):
        images = dataset.split(split)[0].split(BATCH)
        with torch.no_grad():
            parts = [logits_of(network(dataset.normalised(part.to(device)))).float().cpu() for part in images]
        logits = torch.cat(parts)
        predictions[split] = logits.argmax(dim=1)
        for ending, true in (("", given), *([("_clean", dataset.train_labels)] if split == "train" else [])):
            history[f"{split}_loss{ending}"][-1] = F.cross_entropy(logits, true)
            history[f"{split}_error{ending}"][-1] = (predictions[split] != true).double().mean()
    weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    return TrainedModel(model, settings.epochs, weights, history, labels, predictions, math.nan, 0)

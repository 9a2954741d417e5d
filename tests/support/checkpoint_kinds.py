"""Checkpoints as people have them: each writes a file or a folder, whose weights are those of a network, or refused."""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import io
import json
import os
import pathlib
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import nn

from dbviz_ray.analysis.compare.checkpoints import COMPILED, OPTIONAL

Writer = Callable[[Path, nn.Module], Any]
"""Writes a network, or what is left of it, to a path."""


def network(seed: int = 0) -> nn.Module:
    """Its scores of images `[n, 1, 8, 8]` depend on each of its tensors."""
    generator = torch.Generator().manual_seed(seed)
    images = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
    made = nn.Sequential(*images, nn.Linear(144, 5), nn.Tanh(), nn.Linear(5, 3))
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return made.eval()


class Stage(enum.Enum):
    WARM = "warm"


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    folder: Path = Path("runs")
    stage: Stage = Stage.WARM


class AttributeDict(dict):
    class Inner:
        epochs = 3

    def schedule(self, epoch):
        return 1 / (1 + epoch)


class Made:
    """An object that a function makes when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self):
        return self.made


def an_optimizer() -> torch.optim.Optimizer:
    model = network(7)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    return optimizer


INERT: dict[str, Callable[[], Any]] = {
    "numpy numbers": lambda: {"best": np.float64(0.9), np.int64(3): np.float32(1), "flag": np.bool_(True)},
    "numpy arrays": lambda: [np.arange(5), np.zeros((2, 2), np.float16), np.array(["a", None], dtype=object)],
    "generators": lambda: [random.getstate(), np.random.get_state(), np.random.default_rng(0), torch.get_rng_state()],
    "paths": lambda: {Path("/data"): pathlib.PurePosixPath("a"), "windows": pathlib.PureWindowsPath("C:/a")},
    "collections": lambda: [
        collections.deque([1, 2], 3), collections.defaultdict(list, {1: [2]}), collections.Counter("aab"),
        collections.OrderedDict(a=1), collections.ChainMap({"a": 1}), frozenset([1, Stage.WARM]), {1, 2},
    ],
    "enums and dataclasses": lambda: {Stage.WARM: Settings(), "kinds": Stage},
    "objects of own classes": lambda: [AttributeDict(a=AttributeDict()), AttributeDict.Inner()],
    "a schedule": lambda: torch.optim.lr_scheduler.LambdaLR(an_optimizer(), AttributeDict().schedule),
    "tables and times": lambda: [pd.DataFrame({"a": [1]}), datetime.datetime(2020, 1, 1), decimal.Decimal(1), 10**400],
    "functions": lambda: [np.mean, len, nn.functional.relu, torch.relu, int, ValueError("no"), 1j, range(3), slice(1)],
    "parts of torch": lambda: [torch.float32, torch.device("cpu"), torch.Size([1]), torch.ones(3).to_sparse()],
}  # fmt: skip
"""Objects that lie beside weights."""

HOSTILE: dict[str, Callable[[str], Any]] = {
    "os.system": lambda marker: Made(os.system, f"touch {marker}"),
    "eval": lambda marker: Made(eval, f"open({marker!r}, 'w')"),
    "nested getattr": lambda marker: Made(Path(marker).touch),
    "a call within a call": lambda marker: Made(io.open, Made(str, marker), "w"),
    "torch.save": lambda marker: Made(torch.save, [1], marker),
}
"""What would create the file `marker` if it were executed."""

OLD = {"_use_new_zipfile_serialization": False}


def saved(content: Callable[[nn.Module], Any], **options: Any) -> Writer:
    return lambda path, model: torch.save(content(model), path, **options)


def weights_of(model: nn.Module) -> dict[str, Any]:
    return dict(model.state_dict())


def renamed(change: Callable[[str], str]) -> Callable[[nn.Module], Any]:
    """Without the tensors whose new name is empty."""
    return lambda model: {change(name): tensor for name, tensor in model.state_dict().items() if change(name)}


def each(change: Callable[[torch.Tensor], Any]) -> Callable[[nn.Module], Any]:
    """Changed tensors, beside an object."""
    return lambda model: {name: change(t) for name, t in model.state_dict().items()} | {"args": Settings()}


def in_safetensors(path: Path, model: nn.Module) -> None:
    safetensors.torch.save_file(model.state_dict(), path)


def sharded(lost: bool = False) -> Writer:
    """Two files and an index of the end of their names; or without the second."""

    def write(path: Path, model: nn.Module) -> None:
        path.parent.mkdir(exist_ok=True)
        index, weights = {}, list(model.state_dict().items())
        write_part = safetensors.torch.save_file if ".safetensors" in path.name else torch.save
        for shard in range(2):
            part = dict(weights[shard::2])
            name = path.name.replace(".", f"-0000{shard}.", 1).removesuffix(".index.json")
            index |= dict.fromkeys(part, name)
            if not (lost and shard):
                write_part(part, path.parent / name)
        path.write_text(json.dumps({"metadata": {}, "weight_map": index}))

    return write


EQUAL: dict[str, tuple[str, Writer]] = {
    "a state dict": ("a.pt", saved(weights_of)),
    "the old format": ("a.pth", saved(weights_of, **OLD)),
    "protocol 4": ("a.pt", saved(weights_of, pickle_protocol=4)),
    "an own dictionary": ("a.pt", saved(lambda model: AttributeDict(model=AttributeDict(weights_of(model))))),
    "Lightning": ("a.ckpt", saved(lambda model: {
        "state_dict": renamed("net.".__add__)(model) | {"loss.weight": torch.ones(3)},
        "hyper_parameters": argparse.Namespace(lr=np.float64(0.1)), "callbacks": {"a{'b'}": {"best": Path("a.ckpt")}},
    })),
    "torch.compile": ("a.pt", saved(lambda model: torch.compile(model).state_dict())),
    "a compiled part": ("a.pt", saved(renamed(lambda name: name.replace("1.", f"1.{COMPILED}.")))),
    "an averaged model": ("a.pt", saved(lambda model: torch.optim.swa_utils.AveragedModel(model).state_dict())),
    "model, twice": ("a.pt", saved(lambda model: {"model": {"state_dict": weights_of(model)}})),
    "before torch 0.4.1": ("a.pt", saved(renamed(lambda name: "" if OPTIONAL in name else name))),
    "views of one storage": ("a.pt", saved(each(lambda tensor: torch.stack([tensor, tensor])[1]))),
    "tensors with gaps": ("a.pt", saved(each(lambda tensor: torch.stack([tensor, tensor], -1)[..., 1]))),
    "safetensors": ("a.safetensors", in_safetensors),
    "safetensors called .bin": ("a.bin", in_safetensors),
    "a folder": ("model.safetensors", in_safetensors),
    "shards": ("model.safetensors.index.json", sharded()),
    "shards of torch": ("pytorch_model.bin.index.json", sharded()),
    **{
        f"{what}{', old format' * bool(options)}": (
            "a.pt", saved(lambda model, inert=inert: {"state_dict": weights_of(model), "beside": inert()}, **options)
        )
        for what, inert in INERT.items()
        for options in ({}, OLD)
    },
}  # fmt: skip


def written(content: bytes) -> Writer:
    return lambda path, model: path.write_bytes(content)


def packed(pack: Callable[[bytes], bytes]) -> Writer:
    """Made of the bytes of a file of torch.save."""

    def write(path: Path, model: nn.Module) -> None:
        torch.save(model.state_dict(), stream := io.BytesIO())
        path.write_bytes(pack(stream.getvalue()))

    return write


def arrays(model: nn.Module) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n"
REFUSED: dict[str, tuple[str, Writer]] = {
    "a whole network": ("a.pt", saved(lambda model: model)),
    "a whole network within": ("a.pt", saved(lambda model: {"model": model, "epoch": 3})),
    "arrays of numpy": ("a.pt", saved(arrays)),
    "itself": ("a.pt", saved(lambda model: (own := {}) or own.update(model=own) or own)),
    "a list": ("a.pt", saved(lambda model: list(model.parameters()))),
    "a lost tensor": ("a.pt", saved(lambda model: {**weights_of(model), "6.bias": np.ones(3), "args": Settings()})),
    "sparse tensors": ("a.pt", saved(lambda model: {name: t.to_sparse() for name, t in model.state_dict().items()})),
    "a lost shard": ("model.safetensors.index.json", sharded(lost=True)),
    "an index of nothing": ("model.safetensors.index.json", written(b'{"weight_map": {}}')),
    "an index that is none": ("model.safetensors.index.json", written(b"[1, 2]")),
    "an LFS pointer": ("a.pt", written(POINTER)),
    "an LFS pointer, safetensors": ("a.safetensors", written(POINTER)),
    "an empty file": ("a.pt", written(b"")),
    "cut short": ("a.pt", packed(lambda content: content[:-200])),
    "a flipped byte": ("a.pt", packed(lambda content: content[:90] + bytes([content[90] ^ 255]) + content[91:])),
    "npz": ("a.npz", lambda path, model: np.savez(path, **arrays(model))),
    "a pickle": ("a.pkl", lambda path, model: path.write_bytes(pickle.dumps(model.state_dict()))),
    "joblib": ("a.joblib", lambda path, model: joblib.dump(arrays(model), path)),
    "a zip archive": ("a.zip", lambda path, model: zipfile.ZipFile(path, "w").writestr("readme.txt", "hello")),
    "TorchScript": ("a.pt", lambda path, model: torch.jit.trace(model, torch.zeros(2, 1, 8, 8)).save(str(path))),
    "a folder without weights": ("a", lambda path, model: path.mkdir()),
    "a file that is not there": ("a.pt", lambda path, model: None),
}

"""Are the public CIFAR networks scored as plain PyTorch scores them, and what does it cost beside a bare forward?

    python tests/benchmarks/public_resnets.py --cifar10 FOLDER --checkpoints FOLDER [--rounds 3] [--out FILE]

Compares K. He et al.'s networks of 20 and 56 layers for CIFAR-10 (arXiv 1512.03385), with shortcuts padded with zeros,
as trained by Yerlan Idelbayev (github.com/akamaster/pytorch_resnet_cifar10): `--checkpoints` holds resnet20-12fca82f.th
and resnet56-4bfd9763.th, `--cifar10` holds cifar-10-batches-py. Prints errors, churn and losses by `dbviz-ray score`
and by plain PyTorch, and the time of the whole command, with 20 planes of 2,500 points, as a multiple of a bare
channels-last forward of the same number of images and points; medians over rounds in turn.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from timing import ROOT, markdown, parser_of, report
from torch import Tensor, nn
from torch.nn import functional as F

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import load_dataset

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILES = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
PLANES, RESOLUTION, BATCH = 20, 50, 1000


class Block(nn.Module):
    """Two convolutions beside a shortcut that drops every other pixel and pads missing channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.padding = stride, (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Images of `inputs` channels to images of `outputs` channels."""
        inside = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(inside + shortcut)


class CifarResNet(nn.Module):
    """6 n + 2 layers."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(n)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(n - 1)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(n - 1)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[n, 3, 32, 32]` to scores `[n, 10]`."""
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        scores: Tensor = self.linear(x.mean((2, 3)))
        return scores


def resnet20() -> CifarResNet:
    """For the command: `public_resnets:resnet20`."""
    return CifarResNet(3)


def resnet56() -> CifarResNet:
    """For the command: `public_resnets:resnet56`."""
    return CifarResNet(9)


def loaded(checkpoints: Path) -> list[CifarResNet]:
    """Both networks by plain PyTorch: names without DataParallel's prefix. The files have no counters of batches."""
    networks = []
    for build, file in zip((resnet20, resnet56), FILES.values(), strict=True):
        state = torch.load(checkpoints / file, map_location="cpu", weights_only=True)["state_dict"]
        network = build()
        network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
        networks.append(network.eval().to(memory_format=torch.channels_last))
    return networks


@torch.inference_mode()
def bare(networks: list[CifarResNet], images: Tensor, points: Tensor) -> tuple[float, list[Tensor]]:
    """Seconds of the forward passes alone, and the predictions of the images."""
    began = time.perf_counter()
    predicted = []
    for network in networks:
        predicted.append(torch.cat([network(batch).argmax(1) for batch in images.split(BATCH)]))
        for batch in points.split(BATCH):
            network(batch).argmax(1)
    return time.perf_counter() - began, predicted


def whole_command(checkpoints: Path, folder: str, out: str) -> float:
    """Seconds of the command, from the start of its process to its end."""
    files = [str(checkpoints / file) for file in FILES.values()]
    models = [word for name in FILES for word in ("--model", f"public_resnets:{name}")]
    scaled = ["--mean", ",".join(map(str, MEAN)), "--deviation", ",".join(map(str, DEVIATION))]
    data = ["--data", "cifar10", "--data-directory", folder, *scaled, "--device", "cpu"]
    sizes = ["--planes", str(PLANES), "--resolution", str(RESOLUTION), "--out", out]
    began = time.perf_counter()
    here = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    subprocess.run([sys.executable, "-m", "dbviz_ray.score", *files, *models, *data, *sizes], check=True, env=here)
    return time.perf_counter() - began


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--cifar10", required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    dataset = load_dataset(DatasetConfig(name="cifar10"), given.cifar10)
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, DEVIATION))
    images = ((dataset.test_images / 255 - mean) / deviation).contiguous(memory_format=torch.channels_last)
    labels, networks = dataset.test_labels, loaded(given.checkpoints)
    count = PLANES * RESOLUTION**2
    points = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    points = points.contiguous(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as out:
        bare(networks, images[:BATCH], points[:BATCH])
        both = [(bare(networks, images, points)[0], whole_command(given.checkpoints, given.cifar10, out))
                for _ in range(given.rounds)]  # fmt: skip
        result = json.loads((Path(out) / "comparison.json").read_text())
    old, new = bare(networks, images, points[:1])[1]
    wrong = [(own != labels).double().mean().item() for own in (old, new)]
    losses = ((old == labels) & (new != labels)).double().mean().item()
    churn = (old != new).double().mean().item()
    (pair,) = result["pairs"]
    scored = [model["error"]["value"] for model in result["models"]]
    rows = [
        ["error of ResNet-20", f"{wrong[0]:.2%}", f"{scored[0]:.2%}"],
        ["error of ResNet-56", f"{wrong[1]:.2%}", f"{scored[1]:.2%}"],
        ["churn", f"{churn:.2%}", f"{pair['on_images']['churn']['value']:.2%}"],
        ["right in the first, wrong in the second", f"{losses:.2%}", f"{pair['on_images']['losses']['value']:.2%}"],
    ]
    ratio = statistics.median(command / forward for forward, command in both)
    times = ", ".join(f"{command:.1f} s / {forward:.1f} s" for forward, command in both)
    table = markdown(["", "plain PyTorch", "dbviz-ray score"], rows)
    parts = [table, f"whole command / bare forward: {ratio:.3f} ({times})"]
    report("Public CIFAR networks", parts, given.out)


if __name__ == "__main__":
    main()

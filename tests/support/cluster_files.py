"""The cluster files and docs/cluster.md, read for tests."""

import itertools
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CLOUDS = ("cluster.yaml", "docs/cluster/gcp.yaml")
FILES = (*CLOUDS, "docs/cluster/local.yaml")
DOCUMENT = (ROOT / "docs" / "cluster.md").read_text()
TOKEN = "~/.ray/auth_token"


def text_of(file: str) -> str:
    return (ROOT / file).read_text()


def cluster(file: str) -> dict:
    return yaml.safe_load(text_of(file))


def commands(file: str) -> list[str]:
    lists = [value for key, value in cluster(file).items() if key.endswith("_commands")]
    return list(itertools.chain.from_iterable(lists))


def environment(file: str) -> str:
    """Where the file sets the environment of everything that runs on a node."""
    if file in CLOUDS:
        return " ".join(cluster(file)["docker"]["run_options"])
    return " ".join(cluster(file)["setup_commands"])


def ray_starts(file: str) -> list[str]:
    return [command for command in commands(file) if "ray start" in command]

"""Small models and data that many tests share."""

import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from support import whole_sweeps
from support.whole_sweeps import SMALL, run

from dbviz_ray.analysis.figures.drawing import draw_figures
from dbviz_ray.analysis.tables import compute_tables
from dbviz_ray.architectures import initialised_network
from dbviz_ray.cluster import ALONE
from dbviz_ray.config import SweepConfig
from dbviz_ray.config.validation import validated
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.stages import Options
from dbviz_ray.stages.run import run_sweep
from dbviz_ray.store import Store

torch.set_num_threads(1)
settings.register_profile("unhurried", deadline=None)  # no test fails since the machine is busy
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most whole-process tests first, so that the test processes end at about the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def small_sweep(**fields: object) -> SweepConfig:
    """A digits sweep of two widths, two noise levels and three seeds, with some fields replaced."""
    base: dict[str, object] = {
        "name": "small",
        "dataset": {"name": "digits", "train_size": 200, "test_size": 100},
        "grid": {"width": [4, 16], "label_noise": [0.0, 0.2], "seed": [0, 1, 2]},
        "training": {"epochs": 3, "batch_size": 64},
        "planes": {"test": {"count": 6, "resolution": 12}},
    }
    return validated(SweepConfig, base | fields)


@pytest.fixture
def sweep() -> SweepConfig:
    return small_sweep()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset(small_sweep().dataset, "unused")


@pytest.fixture(scope="session")
def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture
def network() -> torch.nn.Module:
    """An untrained one for the digits."""
    return initialised_network("fully_connected", 8, (1, 8, 8), 10, seed=0)


@pytest.fixture(scope="session")
def finished_run(shared_folder: Path) -> tuple[Store, SweepConfig]:
    """A sweep that is trained, labelled, scored and drawn, made once for all test processes; no test changes it."""
    planes = {"test": {"count": 6, "resolution": 12}, "train": {"count": 4, "images": "train"}}
    sweep = small_sweep(planes=planes, resources={"stack": 6})
    store = Store(shared_folder / "finished" / "small")
    with FileLock(f"{shared_folder}/finished.lock"):
        if not Path(store.path("figures")).exists():
            run_sweep(sweep, store, Options(("train", "evaluate", "analyse"), ALONE))
            draw_figures(store, sweep)
    return store, sweep


@pytest.fixture
def copied_run(finished_run: tuple[Store, SweepConfig], tmp_path: Path) -> tuple[Store, SweepConfig]:
    """A copy of the finished run that a test may change, in the folder `runs` of its own folder."""
    store, sweep = finished_run
    return Store(shutil.copytree(store.root, tmp_path / "runs" / "small")), sweep


@pytest.fixture(scope="session", autouse=True)
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    own = tmp_path_factory.getbasetemp()
    whole_sweeps.shared_folder = own if worker_id == "master" else own.parent
    return whole_sweeps.shared_folder


@pytest.fixture(scope="session")
def undisturbed(shared_folder: Path) -> tuple[Path, str, str]:
    """The run directory of a small sweep that nothing disturbed, and its output and messages; no test changes it.

    Made once for all test processes.
    """
    folder = shared_folder / "undisturbed"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            result = run(folder / "small", *SMALL, database=False)
            (folder / "output").write_text(result.stdout)
            (folder / "messages").write_text(result.stderr)
    return folder / "small", (folder / "output").read_text(), (folder / "messages").read_text()


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, SweepConfig, dict[str, pd.DataFrame]]:
    """A made-up run with everything that a sweep can store, and its tables; tests must not change it."""
    from support.made_up_runs import made_up_run

    sweep = small_sweep(
        grid={"width": [4, 16], "label_noise": [0.0, 0.25], "seed": [0, 1, 2]},
        planes={"test": {"count": 6, "resolution": 12, "probabilities": True},
                "train": {"count": 5, "resolution": 12, "images": "train"}},
        margins={"images": 18, "directions": 3},
    )  # fmt: skip
    store = made_up_run(tmp_path_factory.mktemp("made_up") / "small", sweep, error=lambda m, _: 1.6 / m.width)
    return store, sweep, compute_tables(store, sweep)

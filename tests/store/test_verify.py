"""`dbviz-ray verify`: damaged files of every kind are named, and made again as they were."""

from pathlib import Path

import numpy as np
import pytest

from dbviz_ray.__main__ import main
from dbviz_ray.cluster import ALONE
from dbviz_ray.stages import Options
from dbviz_ray.stages.run import run_sweep


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_of_every_kind_are_named_and_made_again_as_they_were(seed, copied_run, capsys):
    store, sweep = copied_run
    models, generator = [model.model_id for model in sweep.models()], np.random.default_rng(seed)
    first, second, third, fourth, fifth = generator.choice(models, 5, replace=False)
    before = {path: path.read_bytes() for path in Path(store.root, "scores").iterdir()}
    assert main(["verify", store.root]) == 0
    names = [
        store.model_file(first, "weights.safetensors"),
        store.model_file(second, "predictions.parquet"),
        store.model_file(third, "history.parquet"),
        store.model_file(fourth, "model.json"),
        store.planes_file("train"),
        store.labels_file("test", fifth, 3),
        *(f"scores/{path.name}" for path in generator.choice(sorted(before), 3, replace=False)),
    ]
    for name in names:
        content = store.read(name)
        damages = [flipped(content, int(generator.integers(len(content)))), content[: len(content) // 2], b""]
        store.write(name, damages[int(generator.integers(3))])
    store.write(store.labels_file("test", second, 3), store.read(store.labels_file("test", third, 3)))
    capsys.readouterr()
    assert main(["verify", store.root]) == 1
    told = capsys.readouterr().err
    assert [name for name in names if store.path(name) not in told] == []
    assert store.labels_file("test", second, 3) in told, "it was made with the weights of another model"
    assert main(["verify", store.root, "--drop"]) == 0
    run_sweep(sweep, store, Options(("train", "evaluate", "analyse"), ALONE))
    assert main(["verify", store.root]) == 0
    assert {path: path.read_bytes() for path in before} == before

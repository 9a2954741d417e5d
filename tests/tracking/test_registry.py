"""A gate writes its verdict to MLflow's registry and moves an alias: at once, or not at all, whatever is cut."""

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from support.tracking_server import Network, TrackingServer
from torch import nn

from dbviz_ray.__main__ import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Scores(mlflow.pyfunc.PythonModel):
    """A model that is no network: scores by the mean of each image's columns."""

    def predict(self, context, model_input, params=None):
        return np.stack([model_input.mean(axis=(1, 2, 3)), model_input.std(axis=(1, 2, 3))], axis=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with versions 1 and 2 of a network and one of another model; champion is version 1."""
    with TrackingServer(tmp_path_factory.mktemp("server")) as server:
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(server.uri)
        for seed in range(2):
            torch.manual_seed(seed)
            network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
            with mlflow.start_run():
                mlflow.pytorch.log_model(
                    network, name="model", registered_model_name="birds", serialization_format="pickle"
                )
        with mlflow.start_run():
            mlflow.pyfunc.log_model(name="model", python_model=Scores(), registered_model_name="others")
        MlflowClient().set_registered_model_alias("birds", "champion", 1)
        yield server
        mlflow.set_tracking_uri(before)


@pytest.fixture
def here(here):
    for name, wrong in (("old", 0), ("new", 3), ("bad", 90)):
        predicted = np.where(np.arange(200) < wrong, 0, 1)
        pd.DataFrame({"id": range(200), "label": 1, "prediction": predicted}).to_csv(f"{name}.csv", index=False)
    return here


def gate(new, *words):
    limits = ["--max-negative-flips", "5%", "--registered", "models:/birds/2", "--set-alias", "champion"]
    return main(["gate", "old.csv", new, *limits, *words])


def test_the_alias_moves_at_once_or_not_at_all(server, here, monkeypatch, capsys):
    client = MlflowClient(server.uri)
    with Network(server.port) as network:
        monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", network.uri)
        assert gate("bad.csv") == 1
        assert "the alias champion of birds was not moved" in capsys.readouterr().out
        requests = len(network.requests)
        for number in range(requests + 1):
            for moment in ("before", "after"):
                client.set_registered_model_alias("birds", "champion", 1)
                network.requests.clear()
                setattr(network, moment, lambda request, number=number: request == number and network.cut())
                code = gate("new.csv")
                is_moved = client.get_model_version_by_alias("birds", "champion").version == "2"
                assert is_moved or code == 4
                assert is_moved <= (client.get_model_version("birds", "2").tags["dbviz.verdict"] == "PASS")
                network.mend()
                assert gate("new.csv") == 0
                assert client.get_model_version_by_alias("birds", "champion").version == "2"
        moved = capsys.readouterr().out
        for name in ("models:/eagles/1", "models:/birds@nobody", "birds"):
            assert gate("new.csv", "--registered", name) == 2
            assert "is no registered version" in capsys.readouterr().err
    assert "the alias champion of birds is now version 2" in moved
    version = client.get_model_version("birds", "2")
    metrics = client.get_run(version.run_id).data.metrics
    assert metrics["dbviz.negative_flips"] == pytest.approx(3 / 200)
    assert [file.path for file in client.list_artifacts(version.run_id, "dbviz")] == ["dbviz/verdict.md"]


def test_registered_models_are_compared_if_their_code_may_run(server, here, capsys):
    names = ["models:/birds@champion", "models:/birds/2", "models:/others/1"]
    generator = np.random.default_rng(0)
    np.savez("images.npz", images=generator.normal(size=(30, 1, 8, 8)).astype(np.float32), labels=np.arange(30) % 2)
    words = ["score", *names, "--data", "images.npz", "--planes", "4", "--resolution", "6", "--no-pictures"]
    assert main(words) == 2
    assert "--trust models:/birds@champion" in capsys.readouterr().err
    assert main([*words, *(word for name in names for word in ("--trust", name))]) == 0
    assert "Two of these 3 models" in capsys.readouterr().out

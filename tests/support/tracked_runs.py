"""What a server must hold of a small sweep that was tracked: everything, and once."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.analysis.scores.groups import first_planes_at_last_epoch
from dbviz_ray.analysis.tables import read_table, tables_of
from dbviz_ray.analysis.tracking.track import NAME

PARENT = "mlflow.parentRunId"


def runs_of(uri, sweep):
    client = MlflowClient(tracking_uri=uri)
    return client, client.search_runs([client.get_experiment_by_name(sweep.name).experiment_id])


def below(run, runs):
    return [other for other in runs if other.data.tags.get(PARENT) == run.info.run_id]


def history(client, run, metric):
    return {point.step: point.value for point in client.get_metric_history(run.info.run_id, metric)}


def check_runs(store, sweep, uri):
    client, runs = runs_of(uri, sweep)
    [top] = [run for run in runs if PARENT not in run.data.tags]
    parts = below(top, runs)
    models = [model for part in parts for model in below(part, runs)]
    assert len(parts) == 4, "two widths, which are no curve, and two noise levels"
    assert sorted(model.data.tags[NAME] for model in models) == sorted(model.model_id for model in sweep.models())
    assert len(runs) == 1 + len(parts) + len(models)
    assert {(run.info.status, run.data.tags["mlflow.source.type"]) for run in runs} == {("FINISHED", "LOCAL")}
    assert top.data.params["width"] == "4, 16"
    assert "git_commit" in top.data.params
    for part in parts:
        check_part(client, store, part)
        for model in below(part, runs):
            check_model(client, store, model, part)
    check_files(client, store, sweep, top)
    assert 0 <= top.info.start_time - min(model.info.start_time for model in models) <= len(runs)
    assert top.info.end_time > max(run.info.end_time for run in [*parts, *models])
    splits = store.read_predictions(sweep.models()[0].model_id)["split"].to_pylist()
    sizes = [{json.loads(of.dataset.profile)["num_rows"] for of in run.inputs.dataset_inputs} for run in runs]
    assert sizes == [{splits.count("train"), splits.count("test")}] * len(runs), "in any order"


def check_part(client, store, part):
    table, key = read_table(store, "groups"), part.data.params
    rows = table.query(f"label_noise == {key['label_noise']} and width == {key['width']}").set_index("plane_set")
    for metric, plane_set, column in (
        ("errors/test_error", "test", "test_error"),
        ("reproducibility/reproducibility", "test", "reproducibility"),
        ("reproducibility - train planes/reproducibility", "train", "reproducibility"),
        ("uncertainty/fragmentation_low", "test", "fragmentation_low"),
    ):
        assert history(client, part, metric) == {0: pytest.approx(rows.loc[plane_set, column])}
    assert key["n_models"] == "3"


def check_model(client, store, model, part):
    assert all(model.data.params[name] == part.data.params[name] for name in ("width", "label_noise"))
    model_id = model.data.tags[NAME]
    trained = store.read_parquet(store.model_file(model_id, "history.parquet"))[0].to_pandas()
    logged = history(client, model, "training/train_error")
    assert logged == pytest.approx(dict(zip(trained["epoch"], trained["train_error"], strict=True)))
    noted = store.read_json(store.model_file(model_id, "model.json"))
    span = [noted["started"] * 1000, (noted["started"] + noted["seconds"]) * 1000]
    assert [model.info.start_time, model.info.end_time] == pytest.approx(span, rel=0, abs=20)
    rows = first_planes_at_last_epoch(read_table(store, "models")).set_index("model_id")
    assert model.data.metrics["test_error"] == pytest.approx(rows.loc[model_id, "test_error"])
    assert model.data.params["init_seed"] == str(rows.loc[model_id, "init_seed"])


def check_files(client, store, sweep, top):
    found = [file for folder in ("", "tables", "figures") for file in client.list_artifacts(top.info.run_id, folder)]
    pictures = {f"figures/{name}.{suffix}" for name, kind in figures_of(sweep).items() for suffix in kind.suffixes}
    tables = {f"tables/{name}.csv" for name in tables_of(sweep) if name not in ("images", "pairs")}  # which have no CSV
    plain = {name for name in ("sweep.yaml", "report.html") if store.exists(name)}
    assert {file.path for file in found if not file.is_dir} == pictures | tables | plain
    for path in (*pictures, *tables, *plain):
        content = Path(client.download_artifacts(top.info.run_id, path)).read_bytes()
        assert content == store.read(path.replace("tables/", "scores/"))

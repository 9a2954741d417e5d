"""Checkpoints that bring their network, and objects of users, predict as the library that wrote them, or themselves."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from support.refusals import refused
from torch import nn

from dbviz_ray.analysis.compare.classifiers import classifier_of
from dbviz_ray.analysis.compare.images import GivenImages
from dbviz_ray.analysis.compare.models import find_models
from dbviz_ray.score import Request

IMAGES = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def loaded(checkpoint, **options):
    request = Request(checkpoints=(str(checkpoint), str(checkpoint)), names=("a", "b"), **options)
    found = find_models(request)[0]
    network = found.network(GivenImages(IMAGES, None, tuple("abcde"), "", {}))
    assert (len(found.facts()["sha256"]) == 64) == (":" not in str(checkpoint))
    return network


def with_random_weights(network):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2)
    return network.eval()


# ---- ONNX


def written(path, batch="n", inputs=1, kind="float", rows=False, outputs="int64[n] label, float[n,5] scores"):
    """A linear layer over the image."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    weights = torch.rand(192, 5)
    images = ", ".join(f"{kind}[{batch},{'192' if rows else '3,8,8'}] x{place}" for place in range(inputs))
    text = f"""<ir_version: 9, opset_import: ["": 17]>
        g ({images}) => ({outputs}) <float[192,5] w = {{{", ".join(map(str, weights.flatten().tolist()))}}}> {{
            floats = Cast<to = 1>(x0)
            flat = Flatten(floats)
            scores = MatMul(flat, w)
            label = ArgMax<axis = 1, keepdims = 0>(scores)
        }}"""
    onnx.save(onnx.parser.parse_model(text), path)
    return weights


ONLY_SCORES = "float[n,5] scores"
OF_WEIGHT_FILES = {"weights_key": "ema", "models": ["fully_connected"], "widths": [4]}


@pytest.mark.parametrize(
    "options",
    [{}, {"batch": 4}, {"batch": 1}, {"batch": 16}, {"kind": "double"}, {"rows": True}, {"outputs": ONLY_SCORES}],
)
def test_onnx_files(options, tmp_path):
    weights = written(tmp_path / "net.onnx", **options)
    network = loaded(tmp_path / "net.onnx")
    assert torch.allclose(network(IMAGES), IMAGES.flatten(1) @ weights, atol=1e-5)
    assert network(IMAGES).shape == (7, 5)
    for field, value in (OF_WEIGHT_FILES | {"model_options": {"depth": 2}}).items():
        assert refused(loaded, tmp_path / "net.onnx", **{field: value}).field == field


def test_onnx_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "net.onnx"
    for options in ({"inputs": 2}, {"kind": "uint8"}, {"outputs": "int64[n] label"}):
        written(path, **options)
        assert refused(loaded, path).field == str(path)
    for content in (b"", b"version https://git-lfs", b"\x08\x09cut", b"<html>"):
        path.write_bytes(content)
        assert refused(loaded, path).field == str(path)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(b"\x08")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert refused(loaded, tmp_path / "net.onnx").hint == "pip install onnxruntime"
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert refused(loaded, tmp_path).hint == "pip install transformers"


# ---- folders


def test_a_folder_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    saved = with_random_weights(timm.create_model("resnet10t", num_classes=5))
    timm.models.save_for_hf(saved, tmp_path, safe_serialization=True)
    with torch.inference_mode():
        for options in ({}, {"models": ("timm/resnet10t",)}):
            assert torch.equal(loaded(tmp_path, **options)(IMAGES), saved(IMAGES))


@pytest.mark.parametrize("shard", ["10GB", "10KB"])
def test_a_folder_of_transformers(shard, tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(**sizes, image_size=8, patch_size=4, num_labels=5)
    saved = with_random_weights(transformers.ViTForImageClassification(config))
    saved.save_pretrained(tmp_path, max_shard_size=shard)
    with torch.inference_mode():
        assert torch.equal(loaded(tmp_path)(IMAGES).logits, saved(IMAGES).logits)
    headless = transformers.ViTModel(config)
    for file in tmp_path.glob("model*"):
        file.unlink()
    assert refused(loaded, tmp_path).field == str(tmp_path)
    headless.save_pretrained(tmp_path, max_shard_size=shard)
    assert "classifier" in refused(loaded, tmp_path).reason


@pytest.mark.parametrize("config", ["{}", "[]", "cut {", '{"architecture": "no_such"}'])
def test_folders_whose_configuration_names_no_network(config, tmp_path):
    pytest.importorskip("timm")
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert str(tmp_path) in refused(loaded, tmp_path).field


# ---- functions


CODE = """
import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

def module(classes=5):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(192, classes))

def neighbours(classes=(0, 1, 2, 4)):
    return KNeighborsClassifier(1).fit(np.eye(4, 192), classes)

def path():
    return "weights.pt"

def fails():
    raise RuntimeError("no\\nweights")

number = 3
"""


def test_functions_that_return_a_model_with_its_weights(tmp_path, monkeypatch):
    (tmp_path / "ready_nets.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    network = loaded("ready_nets:module", model_options={"classes": 4})
    assert network(IMAGES).shape == (7, 4)
    assert not network.training
    for field, value in OF_WEIGHT_FILES.items():
        assert refused(loaded, "ready_nets:module", **{field: value}).field == field
    one = torch.eye(4, 192).reshape(4, 3, 8, 8)
    for options in ({}, {"classes": list("abce")}):
        neighbours = loaded("ready_nets:neighbours", model_options=options)
        assert neighbours(one).argmax(1).tolist() == [0, 1, 2, 4]
        assert neighbours(one).shape == (4, 5)
    assert refused(loaded, "ready_nets:neighbours", model_options={"classes": list("abcz")}).field == "class_names"
    for name in ("path", "fails", "number", "absent"):
        assert f"ready_nets:{name}" in refused(loaded, f"ready_nets:{name}").field
    assert "no_module" in refused(loaded, "no_module:net").field


# ---- objects of users


GENERATOR = np.random.default_rng(0)
ROWS, LABELS = GENERATOR.normal(size=(40, 12)).astype(np.float32), np.arange(40) % 3
PICTURES = torch.from_numpy(ROWS).reshape(-1, 3, 2, 2)
WEIGHTS = torch.from_numpy(GENERATOR.normal(size=(12, 5)).astype(np.float32))
NAMES = ["cat", "dog", "eel"]
ESTIMATORS = {
    "without probabilities": LinearSVC(),
    "pipeline": make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
    "of images": make_pipeline(FunctionTransformer(lambda images: images.reshape(len(images), -1)), LinearSVC()),
}


@pytest.mark.parametrize("labels", [LABELS, LABELS * 2, LABELS.astype(float), LABELS == 1, np.array(NAMES)[LABELS]])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_estimators_predict_their_own_classes(kind, labels):
    estimator = ESTIMATORS[kind].fit(PICTURES.numpy() if kind == "of images" else ROWS, labels)
    columns = classifier_of("a", estimator, NAMES)(PICTURES).argmax(1).numpy()
    expected = estimator.predict(PICTURES.numpy() if kind == "of images" else ROWS)
    assert (np.array(NAMES)[columns] == expected).all() if labels.dtype.kind == "U" else (columns == expected).all()


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False)),
        lambda images: images.flatten(1) @ WEIGHTS,
        lambda images: images.astype(np.float32).reshape(len(images), -1) @ WEIGHTS.numpy(),
        lambda images: np.asarray(images).reshape(len(images), -1) @ WEIGHTS.numpy(),
        lambda images: pd.DataFrame(images.reshape(len(images), -1) @ np.asarray(WEIGHTS)),  # of another library
        SimpleNamespace(predict_proba=lambda images: images.reshape(len(images), -1) @ WEIGHTS.numpy()),
    ],
)
def test_functions_get_what_they_take(model):
    if isinstance(model, nn.Module):
        model[1].weight.data = WEIGHTS.T
    with torch.inference_mode():
        assert torch.allclose(classifier_of("a", model)(PICTURES), PICTURES.flatten(1) @ WEIGHTS, atol=1e-5)


def test_what_is_no_classifier_is_refused():
    several = RandomForestClassifier(2).fit(ROWS, np.stack([LABELS, LABELS], 1))
    regression = LinearRegression().fit(ROWS, LABELS)
    for model in ("net.pt", {"weight": WEIGHTS}, nn.Linear, 3, None, LinearSVC(), regression, several):
        assert refused(classifier_of, "a", model).field == "a"
    for labels in (np.array(NAMES)[LABELS], LABELS - 1):
        assert refused(classifier_of, "a", LinearSVC().fit(ROWS, labels), NAMES[:2]).field == "class_names"
    assert refused(classifier_of("a", LinearSVC().fit(ROWS, LABELS)), PICTURES[:, :2]).field == "images"
    ambiguous = classifier_of("a", lambda images: images.reshape(len(images), -1) / images.std(-1).mean())
    assert refused(ambiguous, PICTURES).field == "a"

"""Objects of users as classifiers, compared with what they answer themselves."""

from types import SimpleNamespace

import numpy as np
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

GENERATOR = np.random.default_rng(0)
ROWS, LABELS = GENERATOR.normal(size=(40, 12)).astype(np.float32), np.arange(40) % 3
IMAGES = torch.from_numpy(ROWS).reshape(-1, 3, 2, 2)
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
    estimator = ESTIMATORS[kind].fit(IMAGES.numpy() if kind == "of images" else ROWS, labels)
    columns = classifier_of("a", estimator, NAMES)(IMAGES).argmax(1).numpy()
    expected = estimator.predict(IMAGES.numpy() if kind == "of images" else ROWS)
    assert (np.array(NAMES)[columns] == expected).all() if labels.dtype.kind == "U" else (columns == expected).all()


class Answers:
    """An array of another library."""

    def __init__(self, array):
        self.array = array

    def __array__(self, *_, **__):
        return self.array


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False)),
        lambda images: images.flatten(1) @ WEIGHTS,
        lambda images: images.astype(np.float32).reshape(len(images), -1) @ WEIGHTS.numpy(),
        lambda images: np.asarray(images).reshape(len(images), -1) @ WEIGHTS.numpy(),
        lambda images: Answers(images.reshape(len(images), -1) @ np.asarray(WEIGHTS)),
        SimpleNamespace(predict_proba=lambda images: images.reshape(len(images), -1) @ WEIGHTS.numpy()),
    ],
)
def test_functions_get_what_they_take(model):
    if isinstance(model, nn.Module):
        model[1].weight.data = WEIGHTS.T
    with torch.inference_mode():
        assert torch.allclose(classifier_of("a", model)(IMAGES), IMAGES.flatten(1) @ WEIGHTS, atol=1e-5)


def test_what_is_no_classifier_is_refused():
    several = RandomForestClassifier(2).fit(ROWS, np.stack([LABELS, LABELS], 1))
    regression = LinearRegression().fit(ROWS, LABELS)
    for model in ("net.pt", {"weight": WEIGHTS}, nn.Linear, 3, None, LinearSVC(), regression, several):
        assert refused(classifier_of, "a", model).field == "a"
    for labels in (np.array(NAMES)[LABELS], LABELS - 1):
        assert refused(classifier_of, "a", LinearSVC().fit(ROWS, labels), NAMES[:2]).field == "class_names"
    assert refused(classifier_of("a", LinearSVC().fit(ROWS, LABELS)), IMAGES[:, :2]).field == "images"
    ambiguous = classifier_of("a", lambda images: images.reshape(len(images), -1) / images.std(-1).mean())
    assert refused(ambiguous, IMAGES).field == "a"

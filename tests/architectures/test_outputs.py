"""What a network returns, as class scores: one logit for two classes, and what is refused."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dbviz_ray.architectures.outputs import NoScoresError, logits_of

LOGITS = torch.tensor([-2.0, 0, 0.5, 3], dtype=torch.float64)
COLUMN = LOGITS[:, None]


@pytest.mark.parametrize("output", [LOGITS, COLUMN, LOGITS.numpy(), {"logits": COLUMN}, SimpleNamespace(logits=LOGITS)])
def test_one_logit_is_that_of_class_one(output):
    scores = logits_of(output)
    assert scores.argmax(dim=1).tolist() == [0, 0, 1, 1]
    assert torch.equal(scores.softmax(dim=1)[:, 1], LOGITS.sigmoid())


@pytest.mark.parametrize("form", [lambda z: z, lambda z: z[:, None]])
def test_its_loss_is_binary_cross_entropy(form):
    labels, (ours, theirs) = torch.tensor([0, 1, 1, 0]), (LOGITS.clone().requires_grad_() for _ in range(2))
    loss, binary = F.cross_entropy(logits_of(form(ours)), labels), nn.BCEWithLogitsLoss()(theirs, labels.double())
    torch.testing.assert_close(loss, binary)
    for found in (loss, binary):
        found.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_batch_of_one_image_may_have_lost_its_dimension():
    assert logits_of(torch.tensor(2.0)).tolist() == [[0, 2]]


@pytest.mark.parametrize("output", [torch.tensor([0, 1, 1]), torch.tensor([[True], [False]]), "cat", [], {}])
def test_predicted_classes_are_no_scores(output):
    with pytest.raises(NoScoresError):
        logits_of(output)

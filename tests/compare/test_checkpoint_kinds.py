"""Every kind of checkpoint predicts as plain PyTorch, or is refused in one line; nothing in it is executed."""

import contextlib
import pickle

import pytest
import torch
from support.checkpoint_kinds import EQUAL, HOSTILE, OLD, REFUSED, Settings, network
from support.refusals import refused
from torch import nn

from dbviz_ray.analysis.compare.checkpoints import load_weights, read_weights
from dbviz_ray.errors import UserError

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", EQUAL)
def test_it_predicts_as_plain_pytorch_does(kind, tmp_path):
    name, write = EQUAL[kind]
    source, plain = network(1), network(2)
    plain.load_state_dict(source.state_dict(), strict=True)
    write(tmp_path / name, source)
    for path in [tmp_path / name, *([tmp_path] if "model." in name else [])]:
        loaded = network(3)
        load_weights(loaded, read_weights(path), path)
        with torch.inference_mode():
            assert torch.equal(loaded(IMAGES), plain(IMAGES))
        assert all(map(torch.equal, loaded.parameters(), source.parameters()))


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_one_line(kind, tmp_path):
    name, write = REFUSED[kind]
    write(tmp_path / name, network(1))
    mistake = refused(lambda: load_weights(network(2), read_weights(tmp_path / name), tmp_path / name))
    assert str(tmp_path / name) in str(mistake)
    assert len(str(mistake)) < 500


@pytest.mark.parametrize("options", [{}, OLD, {"pickle_protocol": 4}])
@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_is_executed(kind, options, tmp_path):
    marker = tmp_path / "executed"
    evil = HOSTILE[kind](str(marker))
    for content in ({"state_dict": network(1).state_dict(), "beside": evil}, {"state_dict": evil}, evil, {evil: 1}):
        torch.save(content, tmp_path / "evil.pt", **options)
        with contextlib.suppress(UserError):
            weights = read_weights(tmp_path / "evil.pt")
            assert all(map(torch.equal, weights.values(), network(1).state_dict().values()))
        assert not marker.exists()
    pickle.loads(pickle.dumps(evil))
    assert marker.exists(), "the file was no danger in the first place"


class Counting(nn.Module):
    """A layer with state that is no tensor."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        self.power = power

    def get_extra_state(self):
        return {"power": self.power}

    def set_extra_state(self, state):
        self.power = state["power"]


def test_state_that_is_no_tensor_is_loaded_and_never_made_up(tmp_path):
    source, loaded = nn.Sequential(Counting(3), nn.Linear(2, 2)), nn.Sequential(Counting(), nn.Linear(2, 2))
    path = tmp_path / "weights.pt"
    torch.save({"model": {f"net.{name}": value for name, value in source.state_dict().items()}}, path)
    load_weights(loaded, read_weights(path), path)
    assert loaded[0].power == 3
    torch.save({**source.state_dict(), "0._extra_state": {"power": Settings()}}, path)
    assert refused(lambda: load_weights(loaded, read_weights(path), path)).field == str(path)
    assert loaded[0].power == 3

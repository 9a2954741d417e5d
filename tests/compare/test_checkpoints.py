"""Every kind of checkpoint predicts as plain PyTorch, or is refused in one line; nothing in it is executed."""

import contextlib
import itertools
import pickle
from functools import partial

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.checkpoint_kinds import EQUAL, HOSTILE, OLD, REFUSED, Settings, network, renamed
from support.network_kinds import KINDS
from support.refusals import refused
from torch import nn

from dbviz_ray.analysis.compare.checkpoints import COMPILED, load_weights, read_weights
from dbviz_ray.errors import UserError

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SAVERS = {
    "torch.save": torch.save,
    "the old format": partial(torch.save, **OLD),
    "protocol 4": partial(torch.save, pickle_protocol=4),
    "pickle": lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2)),
}


def same(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(tensor, others) for (name, tensor), (other, others) in pairs)


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
        assert same(loaded, source)


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_one_line(kind, tmp_path):
    name, write = REFUSED[kind]
    write(tmp_path / name, network(1))
    mistake = refused(lambda: load_weights(network(2), read_weights(tmp_path / name), tmp_path / name))
    assert str(tmp_path / name) in str(mistake)
    assert len(str(mistake)) < 500


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_is_executed(kind, saver, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "executed"
    evil = HOSTILE[kind](str(marker))
    contents = {"state_dict": network(1).state_dict(), "beside": evil}, {"state_dict": evil}, evil, {evil: 1}
    for content, name in itertools.product(contents, ("evil.pt", "evil.safetensors")):
        SAVERS[saver](content, tmp_path / name)
        with contextlib.suppress(UserError):
            weights = read_weights(tmp_path / name)
            assert all(map(torch.equal, weights.values(), network(1).state_dict().values()))
        assert not marker.exists()
    pickle.loads(pickle.dumps(evil))
    assert marker.exists(), "the file was no danger in the first place"


class Counting(nn.Module):
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


@given(st.lists(st.sampled_from(["module.", "model.", "own.1.", f"{COMPILED}."]), max_size=4))
def test_prefixes_in_any_order_are_undone(prefixes):
    saved, loaded = network(1), network(2)
    before = "".join(prefixes)
    load_weights(loaded, renamed(before.__add__)(saved), "weights")
    assert same(saved, loaded)


def test_weights_under_two_names_may_be_stored_once_and_may_not_differ(tmp_path):
    saved, loaded = (KINDS["tied_weights"](3, (1, 2, 2), 2) for _ in range(2))
    safetensors.torch.save_model(saved, str(tmp_path / "weights.safetensors"))
    weights = read_weights(tmp_path / "weights.safetensors")
    assert len(weights) == len(saved.state_dict()) - 1
    load_weights(loaded, weights, "weights")
    assert same(saved, loaded)
    weights = {name: tensor.clone() for name, tensor in saved.state_dict().items()}
    untied = weights | {"again.weight": weights["inner.weight"] + 1}
    twice = weights | {f"{COMPILED}.head.bias": weights["head.bias"] + 1}
    for given_weights in (untied, twice):
        assert refused(load_weights, loaded, given_weights, "weights").field == "weights"


def test_a_network_of_double_weights_computes_in_double():
    loaded = network(2)
    load_weights(loaded, network(1).double().state_dict(), "weights")
    assert loaded(IMAGES.double()).dtype == torch.float64


WEIGHTS = network(1).state_dict()
WITHOUT_BIAS = {name: tensor for name, tensor in WEIGHTS.items() if name != "1.bias"}
OTHER_SHAPES = WEIGHTS | {"0.weight": torch.zeros(6, 1, 3, 3), "6.bias": torch.zeros(4)}


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        # in another order than the network's: the first of the file is not the first of the network
        (dict(reversed(OTHER_SHAPES.items())), ["0.weight", "(6, 1, 3, 3)", "(4, 1, 3, 3)"]),
        (WITHOUT_BIAS | {"1.shift": torch.zeros(4)}, ["1.bias", "(4,)", "1.shift"]),
        (WEIGHTS | {f"7.{name}": torch.zeros(1) for name in "abcde"}, ["7.a, 7.b, 7.c, and 2 more", "all 11 names"]),
        ({"something": torch.zeros(2)}, ["0.weight", "(4, 1, 3, 3)", "something"]),
    ],
)
def test_weights_that_do_not_fit_name_the_first_layer(weights, parts):
    mistake = refused(load_weights, network(), weights, "old.pt")
    assert mistake.field == "old.pt"
    assert all(part in mistake.reason for part in parts)


def test_one_of_several_state_dicts_or_prefixes_is_chosen_by_name(tmp_path):
    path, loaded = tmp_path / "several.pt", network(3)
    model, other = network(1).state_dict(), network(2).state_dict()
    torch.save({"model": model, "ema": {"net": other}, "net": {}}, path)
    for key, seed in (("model", 1), ("ema.net", 2)):
        load_weights(loaded, read_weights(path, key), path)
        assert same(loaded, network(seed))
    assert refused(read_weights, path).allowed == "model, ema"
    mistake = refused(read_weights, path, "ema.model")
    assert (mistake.field, mistake.allowed) == ("weights_key", "net")
    for content, allowed in (({"model": model, "net": other}, "model, net"), ({"epoch": 3}, None)):
        torch.save(content, path)
        mistake = refused(read_weights, path)
        assert mistake.field == "weights_key"
        assert allowed in (mistake.allowed, None)
    torch.save(renamed("net.".__add__)(network(1)) | renamed("ema.".__add__)(network(2)), path)
    mistake = refused(load_weights, loaded, read_weights(path), path)
    assert (mistake.field, mistake.allowed) == ("weights_key", "net., ema.")
    load_weights(loaded, read_weights(path, "ema."), path)
    assert same(loaded, network(2))


def test_what_load_state_dict_converts_is_taken():
    old = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)))
    new = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    load_weights(new, old.state_dict(), "weights")
    images = torch.ones(2, 4)
    assert torch.equal(new(images), old(images))

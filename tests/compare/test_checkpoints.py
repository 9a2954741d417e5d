import os
import pickle

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import refused
from support.user_networks import Quirky
from torch import nn

from dbviz_ray.analysis.compare.checkpoints import COMPILED, load_weights, read_weights


def network(seed=0, width=5):
    generator = torch.Generator().manual_seed(seed)
    made = nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3))
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 10)
    return made.eval()


def same(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(tensor, others) for (name, tensor), (other, others) in pairs)


def with_prefix(prefix, model):
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


@given(st.lists(st.sampled_from(["module.", "model.", "own.1.", f"{COMPILED}."]), max_size=4))
def test_prefixes_in_any_order_are_undone(prefixes):
    saved, loaded = network(1), network(2)
    before = "".join(prefixes)
    load_weights(loaded, with_prefix(before, saved), "weights")
    assert same(saved, loaded)


def test_weights_under_two_names_may_be_stored_once(tmp_path):
    saved, loaded = Quirky(3, 4, 2), Quirky(3, 4, 2)
    safetensors.torch.save_model(saved, str(tmp_path / "weights.safetensors"))
    weights = read_weights(tmp_path / "weights.safetensors")
    assert len(weights) == len(saved.state_dict()) - 1
    load_weights(loaded, weights, "weights")
    assert same(saved, loaded)


def test_a_network_of_double_weights_computes_in_double():
    loaded = network(2)
    load_weights(loaded, network(1).double().state_dict(), "weights")
    assert loaded(torch.ones(2, 4, dtype=torch.float64)).dtype == torch.float64


class Evil:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["torch.save", "torch.save, old format", "pickle", "pickle called .safetensors"])
def test_code_in_a_file_is_refused_and_not_executed(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    content = {"state_dict": network().state_dict(), "extra": Evil(tmp_path / "executed")}
    path = tmp_path / ("evil.safetensors" if "called" in kind else "evil.pt")
    if kind.startswith("torch"):
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch.save")
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    assert refused(read_weights, path).field == str(path)
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(content["extra"]))
    assert (tmp_path / "executed").exists(), "the file was no danger in the first place"


def broken(change, width=5):
    weights = network(1, width).state_dict()
    change(weights)
    return weights


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        # in another order than the network's: the first of the file is not the first of the network
        (dict(reversed(network(1, 6).state_dict().items())), ["1.weight", "(6, 4)", "(5, 4)"]),
        (
            broken(lambda weights: (weights.pop("2.bias"), weights.update({"2.shift": torch.zeros(5)}))),
            ["2.bias", "(5,)", "2.shift"],
        ),
        (
            broken(lambda weights: weights.update({f"5.{name}": torch.zeros(1) for name in "abcde"})),
            ["5.a, 5.b, 5.c, and 2 more", "all 9 names"],
        ),
        ({"something": torch.zeros(2)}, ["1.weight", "(5, 4)", "something"]),
    ],
)
def test_weights_that_do_not_fit_name_the_first_layer(weights, parts):
    mistake = refused(load_weights, network(), weights, "old.pt")
    assert mistake.field == "old.pt"
    assert all(part in mistake.reason for part in parts)


def test_one_of_several_state_dicts_is_chosen_by_name(tmp_path):
    path = tmp_path / "several.pt"
    torch.save({"model": network(1).state_dict(), "ema": {"net": network(2).state_dict()}, "net": {}}, path)
    loaded = network(3)
    assert refused(read_weights, path).allowed == "model, ema"
    load_weights(loaded, read_weights(path, "model"), path)
    assert same(loaded, network(1))
    load_weights(loaded, read_weights(path, "ema.net"), path)
    assert same(loaded, network(2))
    mistake = refused(read_weights, path, "ema.model")
    assert (mistake.field, mistake.allowed) == ("weights_key", "net")
    torch.save({"model": network(1).state_dict(), "net": network(2).state_dict()}, path)
    mistake = refused(read_weights, path)
    assert (mistake.field, mistake.allowed) == ("weights_key", "model, net")
    torch.save({"epoch": 3}, path)
    assert refused(read_weights, path).field == "weights_key"


def test_one_of_several_prefixes_is_chosen_by_name(tmp_path):
    path, loaded = tmp_path / "several.pt", network(3)
    torch.save(with_prefix("net.", network(1)) | with_prefix("ema.", network(2)), path)
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


def test_different_weights_for_one_tensor_and_two_for_one_name_are_refused():
    tied = Quirky(3, 4, 2)
    weights = {name: tensor.clone() for name, tensor in tied.state_dict().items()}
    untied = weights | {"second.weight": weights["first.weight"] + 1}
    twice = weights | {f"{COMPILED}.head.bias": weights["head.bias"] + 1}
    for given_weights in (untied, twice):
        assert refused(load_weights, tied, given_weights, "weights").field == "weights"

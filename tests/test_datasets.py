from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from conftest import small_sweep
from hypothesis import given
from hypothesis import strategies as st

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import load_dataset, noisy_labels
from dbviz_ray.datasets.augmentation import PADDING, Batches
from dbviz_ray.datasets.cifar import CLASS_NAMES, FOLDER
from dbviz_ray.errors import UserError
from dbviz_ray.seeds import torch_generator


def write_cifar10(directory, images_per_file=60, seed=0):
    """CIFAR-10's own format: pickled dicts of bytes keys, data uint8 [n, 3072], labels a list."""
    folder = directory / FOLDER
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        labels = generator.integers(0, 10, images_per_file)
        shades = 20 * labels[:, None] + generator.integers(0, 40, (images_per_file, 3072))
        batch = {b"batch_label": name.encode(), b"labels": labels.tolist(), b"data": shades.astype(np.uint8)}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def test_digits_are_split_without_overlap():
    data = load_dataset(DatasetConfig(name="digits"), "unused")
    assert (len(data.train_images), len(data.test_images), data.image_shape) == (1000, 797, (1, 8, 8))
    from sklearn.datasets import load_digits

    everything = sorted(map(tuple, torch.cat([data.train_images, data.test_images]).flatten(1).tolist()))
    assert everything == sorted(map(tuple, load_digits().data.astype(int).tolist()))


def test_split_is_its_seed(digits):
    other = load_dataset(DatasetConfig(name="digits", train_size=200, test_size=100, split_seed=1), "unused")
    assert not torch.equal(other.train_images, digits.train_images)


def test_too_many_digits_are_refused():
    with pytest.raises(UserError, match=r"dataset.train_size: 1800 .* digits has 1797"):
        load_dataset(DatasetConfig(name="digits", train_size=1800), "unused")


@given(st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), st.integers(0, 1000), st.integers(2, 10))
def test_label_noise_is_balanced_and_never_the_same_class(share, seed, classes):
    labels = torch.arange(classes).repeat(20)
    noisy = noisy_labels(labels, classes, share, seed)
    changed = noisy != labels
    for label in range(classes):
        assert changed[labels == label].sum() == round(share * 20)
    assert noisy.min() >= 0
    assert noisy.max() < classes
    assert torch.equal(labels, torch.arange(classes).repeat(20))


def test_label_noise_draws_other_classes_uniformly():
    noisy = noisy_labels(torch.zeros(30_000, dtype=torch.int64), 4, 1.0, seed=3)
    counts = torch.bincount(noisy, minlength=4)
    assert counts[0] == 0
    assert ((counts[1:] - 10_000).abs() < 5 * 82).all()  # five standard deviations of a binomial


def test_normalised_pixels(digits):
    pixels = torch.tensor([[0.0, 8], [16, 4]]).to(torch.uint8).view(1, 1, 2, 2)
    assert digits.normalised(pixels).flatten().tolist() == [0, 0.5, 1, 0.25]


def test_cifar10_reads_its_true_format(tmp_path):
    write_cifar10(tmp_path)
    data = load_dataset(DatasetConfig(name="cifar10"), str(tmp_path))
    assert data.train_images.shape == (300, 3, 32, 32)
    assert data.test_images.shape == (60, 3, 32, 32)
    assert data.class_names == CLASS_NAMES
    raw = pickle.loads((tmp_path / FOLDER / "data_batch_2").read_bytes())
    assert torch.equal(data.train_images[60].flatten(), torch.from_numpy(raw[b"data"][0]))
    assert data.train_labels[60:120].tolist() == raw[b"labels"]
    red = (data.test_images[0, 0, 0, 0] / 255 - 0.4914) / 0.2023
    assert data.normalised(data.test_images)[0, 0, 0, 0] == pytest.approx(red.item())


def test_cifar10_subsets_are_drawn_by_the_split_seed(tmp_path):
    write_cifar10(tmp_path)

    def first(seed):
        return load_dataset(DatasetConfig(name="cifar10", train_size=50, split_seed=seed), str(tmp_path)).train_images

    assert first(0).shape[0] == 50
    assert not torch.equal(first(0), first(1))
    with pytest.raises(UserError, match=r"dataset\.test_size: 61 is not allowed"):
        load_dataset(DatasetConfig(name="cifar10", test_size=61), str(tmp_path))


def test_missing_cifar10_says_where_to_put_the_files(tmp_path, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(UserError) as caught:
        load_dataset(DatasetConfig(name="cifar10"), str(tmp_path / "nothing"))
    assert str(tmp_path / "nothing") in str(caught.value)
    assert "cifar-10-python.tar.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


class Hostile:
    def __reduce__(self):
        import os

        return os.system, ("touch hostile-code-ran",)


@pytest.mark.parametrize("content", [Hostile(), {b"data": [1]}, {b"labels": [0]}, 3])
def test_a_hostile_or_broken_cifar10_file_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path)
    (tmp_path / FOLDER / "data_batch_3").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"data_batch_3: not a CIFAR-10 batch"):
        load_dataset(DatasetConfig(name="cifar10"), str(tmp_path))
    assert not (tmp_path / "hostile-code-ran").exists()


def batches_of(sweep, data):
    models = [m for m in sweep.models() if m.width == 4][:2]
    return models, Batches(models, data, torch.device("cpu"), torch.float32)


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own(digits):
    _, batches = batches_of(small_sweep(training={"epochs": 3, "batch_size": 64}), digits)
    order = batches.order(0)
    assert torch.equal(order.sort().values, torch.arange(200).expand(2, 200))
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order, batches.order(1))
    pieces = list(batches.epoch(0, order))
    assert [place.stop - place.start for place, _ in pieces] == [64, 64, 64, 8]
    for place, images in pieces:
        assert torch.equal(images, digits.normalised(digits.train_images[order[:, place]]))


def test_crops_and_flips_equal_a_naive_loop(tmp_path):
    write_cifar10(tmp_path)
    sweep = small_sweep(dataset={"name": "cifar10"}, training={"augmentation": "crop_flip", "batch_size": 70})
    data = load_dataset(sweep.dataset, str(tmp_path))
    models, batches = batches_of(sweep, data)
    order = batches.order(4)
    made = torch.cat([images for _, images in batches.epoch(4, order)], dim=1)
    padded = torch.nn.functional.pad(data.train_images, (PADDING,) * 4)
    for member, model in enumerate(models):
        draws = torch.rand(300, 3, generator=torch_generator("cpu", "augmentation", model.seeds.augmentation, 4))
        for place in range(0, 300, 17):
            top, left, flip = (int(d * n) for d, n in zip(draws[place], (9, 9, 2), strict=True))
            crop = padded[order[member, place], :, top : top + 32, left : left + 32]
            crop = crop.flip(-1) if flip else crop
            assert torch.equal(made[member, place], data.normalised(crop))

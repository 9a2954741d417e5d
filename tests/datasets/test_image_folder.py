import numpy as np
import pytest
import torch
from PIL import Image
from support import dataset_files, image_kinds
from support.dataset_files import write_image_folder
from torchvision.datasets.folder import default_loader

from dbviz_ray.config.sweep_files import load_sweep


def loaded(folder, **fields):
    return dataset_files.loaded("unused", name="image_folder", folder=str(folder), **fields)


def refused(folder, **fields):
    return dataset_files.refused("unused", name="image_folder", folder=str(folder), **fields)


def test_images_are_read_as_they_are(tmp_path):
    write_image_folder(tmp_path, sizes=((10, 8),))
    data = loaded(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert (data.train_images.shape, data.test_images.shape) == ((12, 3, 8, 10), (8, 3, 8, 10))
    assert data.train_labels.tolist() == [0] * 6 + [1] * 6
    third_dog = np.array(Image.open(tmp_path / "train" / "dog" / "002.png"))
    assert torch.equal(data.train_images[8], torch.from_numpy(third_dog).permute(2, 0, 1))
    pixels = data.normalised(data.train_images, torch.float64)
    assert pixels.mean(dim=(0, 2, 3)).abs().max() < 1e-12
    assert pixels.std(dim=(0, 2, 3), correction=0) == pytest.approx([1, 1, 1])


def test_images_of_several_sizes_are_resized(tmp_path):
    write_image_folder(tmp_path, sizes=((10, 8), (5, 20)))
    data = loaded(tmp_path, image_size=6)
    assert data.train_images.shape == (12, 3, 6, 6)
    mistake = refused(tmp_path)
    assert mistake.field == "dataset.image_size"
    assert all(told in mistake.reason for told in ("000.png", "10x8", "001.png", "5x20"))


def test_only_the_kept_images_are_read(tmp_path):
    write_image_folder(tmp_path)
    everything = loaded(tmp_path)
    data = loaded(tmp_path, train_size=5, test_size=3)
    is_kept = [(data.train_images == image).all((1, 2, 3)).any().item() for image in everything.train_images]
    kept = np.flatnonzero(is_kept)
    assert len(kept) == 5
    assert torch.equal(everything.train_images[kept], data.train_images)
    assert torch.equal(everything.train_labels[kept], data.train_labels)
    assert len(data.test_labels) == 3
    mistake = refused(tmp_path, train_size=13)
    assert mistake.field == "dataset.train_size"
    assert "12" in mistake.allowed


def test_a_relative_folder_is_in_the_present_folder_or_beside_the_sweep(here, monkeypatch):
    write_image_folder(here / "pets")
    assert len(dataset_files.loaded("unused", name="image_folder", folder="pets").train_labels) == 12
    text = "dataset: {name: image_folder, folder: pets}\ngrid: {width: [3]}\n"
    (here / "birds.yaml").write_text(text)
    beside = load_sweep("birds.yaml")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    for sweep in (load_sweep("../birds.yaml"), load_sweep("../birds.yaml", ["dataset.folder=../pets"])):
        assert sweep.dataset.folder == str(here / "pets"), "workers and sweep.yaml need the whole path"
        assert [model.model_id for model in sweep.models()] == [model.model_id for model in beside.models()]
    assert load_sweep("../birds.yaml", ["dataset.folder=~/pets"]).dataset.folder == "~/pets"


def test_a_constant_channel_has_deviation_1(tmp_path):
    write_image_folder(tmp_path)
    for path in (tmp_path / "train").rglob("*.png"):
        Image.new("RGB", (8, 8), (7, 7, 7)).save(path)
    assert loaded(tmp_path).deviation == (1.0, 1.0, 1.0)


def test_folders_that_cannot_be_used_are_named(tmp_path):
    assert refused(tmp_path).field == "dataset.folder"
    write_image_folder(tmp_path)
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "dogs")
    assert refused(tmp_path).field == str(tmp_path / "test" / "dogs")
    (tmp_path / "empty" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "empty" / "test").mkdir()
    assert refused(tmp_path / "empty").field == str(tmp_path / "empty" / "train")
    write_image_folder(tmp_path / "one", classes=("cat",))
    mistake = refused(tmp_path / "one")
    assert mistake.field == "dataset.name"
    assert "1 classes" in mistake.reason


def write_kind(folder, ending, write):
    """One more image of a cat, the first one for the test."""
    write_image_folder(folder)
    path = folder / "test" / "cat" / f"0.{ending}"
    write(path)
    return path


@pytest.mark.parametrize("kind", image_kinds.FILES)
def test_every_kind_of_file_is_read_as_torchvision_does_but_upright(kind, tmp_path):
    path = write_kind(tmp_path, *image_kinds.FILES[kind])
    expected = image_kinds.TURNS.get(kind, np.array)(np.array(default_loader(path))).transpose(2, 0, 1)
    assert torch.equal(loaded(tmp_path).test_images[0], torch.from_numpy(expected.copy()))


@pytest.mark.parametrize("kind", image_kinds.REFUSED_FILES)
def test_files_that_would_change_without_a_word_are_refused(kind, tmp_path):
    path = write_kind(tmp_path, *image_kinds.REFUSED_FILES[kind])
    assert refused(tmp_path).field == str(path)

"""What a file is that is no checkpoint, by its first bytes."""

import zipfile
from pathlib import Path

BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    "a pointer of Git LFS instead of the file; run `git lfs pull`": (b"version https://git-lfs",),
    "compressed; unpack it first": (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf"),
    "an HDF5 file, as Keras writes it": (b"\x89HDF",),
    "an array of numpy": (b"\x93NUMPY",),
    "an HTML or XML page, perhaps an error of the server that it came from": (b"<",),
    "JSON text": (b"{", b"["),
    "a pickle that torch.save did not write, or cut short": (b"\x80",),
    "a compressed pickle, as joblib writes it": (b"x\x9c", b"x\x5e", b"x\xda", b"x\x01"),
    "protocol buffers, as ONNX and TensorFlow write them": (b"\x08",),
}
WITHIN = {
    ".npy": "an npz file of numpy",
    "constants.pkl": "a TorchScript archive, which holds code",
    "archive_format": "a program of torch.export",
    "model.weights.h5": "a model of Keras",
    "data.pkl": "a damaged file of torch.save",
}
"""By names in a zip archive."""


def kind_of(path: Path) -> str:
    """What a file is, in words; "" if unknown."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start.strip(b"\0"):
        return "empty, or begins with nothing but zeros"
    if not start.startswith(b"PK\x03\x04"):
        found = [kind for kind, beginnings in BEGINNINGS.items() if start.lstrip().startswith(beginnings)]
        return found[0] if found else "text" * (start.isascii() and b"\0" not in start)
    try:
        with zipfile.ZipFile(path) as archive:
            names = " ".join(archive.namelist())
    except Exception:  # damaged bytes raise anything
        return "a zip archive that is damaged or cut short"
    return next((kind for part, kind in WITHIN.items() if part in names), "a zip archive")

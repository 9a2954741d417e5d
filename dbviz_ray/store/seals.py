"""Seals: a JSON, Parquet or safetensors file holds the digest of all its other bytes, so a reader sees any change.

The digest stands where the writer left `UNSEALED`, in JSON that each of these formats has room for. A file without one
is of an earlier version and counts as whole.
"""

import hashlib
import re

UNSEALED = {"seal": "0" * 64}
_SEAL = re.compile(rb'"seal": ?"(.{64})', re.DOTALL)


def sealed(content: bytes) -> bytes:
    """The content, which holds `UNSEALED` once, with its SHA-256 digest in the place of the zeros."""
    found = _SEAL.search(content)
    assert found is not None
    return b"".join((content[: found.start(1)], digest_of(content).encode(), content[found.end(1) :]))


def seal_of(content: bytes) -> str:
    """The seal of a file; empty without one. ValueError unless all else is as it was when it was sealed."""
    found = _SEAL.search(content)
    if found is None:
        return ""
    digest, view = hashlib.sha256(content[: found.start(1)]), memoryview(content)
    digest.update(UNSEALED["seal"].encode())
    digest.update(view[found.end(1) :])
    if digest.hexdigest().encode() != found[1]:
        raise ValueError("its content is not what was written")
    return digest.hexdigest()


def digest_of(content: bytes) -> str:
    """The SHA-256 digest of a file that has no seal, such as a picture."""
    return hashlib.sha256(content).hexdigest()

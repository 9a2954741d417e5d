"""Names and hashes of configurations."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

SCHEMA_VERSION = 2
"""Raised whenever the same configuration would give other numbers than before."""


def fingerprint(value: Any) -> str:
    """Ten hexadecimal digits of a hash over `value` (anything JSON can hold) and `SCHEMA_VERSION`."""
    canonical = json.dumps([SCHEMA_VERSION, value], sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=5).hexdigest()


def slugified(text: str) -> str:
    """`text` with everything that is awkward in a file name replaced by a dash."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text)


def differing_fields(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields in which two nested mappings differ."""
    for key in sorted(left.keys() | right.keys()):
        name, a, b = f"{prefix}{key}", left.get(key), right.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differing_fields(a, b, f"{name}.")
        elif a != b:
            yield name

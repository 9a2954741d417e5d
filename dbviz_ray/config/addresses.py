"""Addresses of run directories and names of files in them, checked before anything is opened."""

from __future__ import annotations

import re

from dbviz_ray.errors import UserError

_AUTHORITIES = {
    "s3": r"[^:@]+",
    "gs": r"(anonymous@)?[^:@]+",
    "gcs": r"(anonymous@)?[^:@]+",
    "abfs": r"([^:@]+@)?[^:@]+(:\d+)?",  # container@account.host
    "abfss": r"([^:@]+@)?[^:@]+(:\d+)?",
}
"""What may stand between :// and the path: a bucket, never a key."""
_SECRET_SETTING = re.compile(r"(^|&)[^=&]*(key|secret|token|passw|credential|sig|sas)[^=&]*=", re.IGNORECASE)
_OWN_MEANS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or the service account of the machine",
    "abfs": "AZURE_CLIENT_ID and its like, or the identity of the machine",
}
_SETTINGS = {
    "s3": "allow_delayed_open=true",  # without it pyarrow uploads even small objects in parts, in three requests
    "gs": "retry_limit_seconds=10",  # pyarrow's own is 15 minutes, in which nothing is said
}


def checked_address(address: str) -> str:
    """An address such as s3://bucket/prefix. UserError if it is of an unknown kind, or holds credentials.

    Addresses are written to files and logs. Settings of pyarrow may follow a question mark, `endpoint_override=...`
    among them, for which AWS_ENDPOINT_URL does too.
    """
    scheme, _, rest = address.partition("://")
    place, _, settings = rest.partition("?")
    if scheme not in _AUTHORITIES:
        raise UserError(
            f"--out: {scheme}://{place.rpartition('@')[2]} is neither a directory nor a usable URI; "
            "allowed: a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or abfs://CONTAINER@ACCOUNT.HOST/PREFIX"
        )
    if not re.fullmatch(_AUTHORITIES[scheme], place.partition("/")[0]) or _SECRET_SETTING.search(settings):
        means = next(means for kind, means in _OWN_MEANS.items() if scheme.startswith(kind[:2]))
        raise UserError(
            f"--out: {scheme}://... holds credentials, or no bucket; addresses are written to files and logs; "
            f"allowed: {scheme}://BUCKET/PREFIX, and credentials from {means}"
        )
    return address


def for_pyarrow(address: str) -> str:
    """A checked address with the settings that we need of pyarrow and that it does not name itself."""
    place, _, settings = address.partition("?")
    ours = _SETTINGS.get(place.partition("://")[0].replace("gcs", "gs"), "")
    if not ours or f"&{ours.partition('=')[0]}=" in f"&{settings}":
        return address
    return f"{place}?{settings}&{ours}" if settings else f"{place}?{ours}"


def checked_name(name: str) -> str:
    """A file's name relative to a run directory. UserError if it could lead out of it.

    Names are made of what files of a run hold, and these may be anybody's.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or not name.isprintable():
        raise UserError(
            f"file {name!r}: not a name within a run directory; allowed: such as models/NAME/model.json, "
            "without empty parts, dots alone, backslashes and control characters"
        )
    return name

"""Addresses of run directories and names of files in them, checked before anything is opened."""

import re
from typing import NamedTuple

from dbviz_ray.errors import UserError


class _Store(NamedTuple):
    """A kind of object store."""

    bucket: str
    """A pattern of what may stand between :// and the path: a bucket, never a key."""
    credentials: str
    """Where pyarrow finds them."""
    setting: str = ""
    """Ours for pyarrow."""


_S3 = _Store(
    bucket=r"[^:@]+",
    credentials="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine",
    setting="allow_delayed_open=true",  # without it pyarrow uploads even small objects in parts, in three requests
)
_GS = _Store(
    bucket=r"(anonymous@)?[^:@]+",
    credentials="GOOGLE_APPLICATION_CREDENTIALS, or the service account of the machine",
    setting="retry_limit_seconds=10",  # pyarrow's default is 15 silent minutes
)
_ABFS = _Store(
    bucket=r"([^:@]+@)?[^:@]+(:\d+)?",  # container@account.host
    credentials="AZURE_CLIENT_ID and its like, or the identity of the machine",
)
_STORES = {"s3": _S3, "gs": _GS, "gcs": _GS, "abfs": _ABFS, "abfss": _ABFS}
_SECRET_SETTING = re.compile(r"(^|&)[^=&]*(key|secret|token|passw|credential|sig|sas)[^=&]*=", re.IGNORECASE)
DATABASES = ("postgresql", "mysql", "mssql")
HIDDEN = "***"
_CREDENTIALS = re.compile(r"^(?P<scheme>[^:/]+)://(?P<user>[^:/@]*)(?P<password>:.*)?@", re.DOTALL)
_SECRET_FIELD = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&#]*", re.IGNORECASE)


def checked_address(address: str, field: str = "--out") -> str:
    """A path, or an address such as s3://bucket/prefix, as it is.

    UserError about `field` if the kind of an address is unknown, or if it holds credentials: files and logs hold
    addresses. Settings of pyarrow may follow a question mark, such as `endpoint_override=...` (the variable
    AWS_ENDPOINT_URL does the same).
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    place, _, settings = rest.partition("?")
    if scheme not in _STORES:
        shown = f"{scheme}://{place.rpartition('@')[2]}"
        allowed = "a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or abfs://CONTAINER@ACCOUNT.HOST/PREFIX"
        raise UserError(field, shown, allowed=allowed)
    store = _STORES[scheme]
    if not re.fullmatch(store.bucket, place.partition("/")[0]) or _SECRET_SETTING.search(settings):
        reason = "names no bucket, or holds credentials, which would stand in files and logs"
        allowed = f"{scheme}://BUCKET/PREFIX, with credentials from {store.credentials}"
        raise UserError(field, f"{scheme}://...", reason=reason, allowed=allowed)
    return address


def for_pyarrow(address: str) -> str:
    """A checked address with our setting for pyarrow, unless it has the setting itself."""
    place, _, settings = address.partition("?")
    setting = _STORES[place.partition("://")[0]].setting
    if not setting or f"&{setting.partition('=')[0]}=" in f"&{settings}":
        return address
    return f"{place}?{settings}&{setting}" if settings else f"{place}?{setting}"


def checked_name(name: str) -> str:
    """A file's name relative to a run directory; UserError if it could lead out of it.

    Such names come from files of the run, which anybody may have written.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or not name.isprintable():
        allowed = (
            "such as models/NAME/model.json, without empty parts, dots as parts, backslashes and control characters"
        )
        raise UserError("file", name, reason="is not a name within a run directory", allowed=allowed)
    return name


def without_password(uri: str) -> str:
    """A tracking URI with stars for its secrets, so that it may be stored and printed.

    Secrets are a database's password, everything before the @ of a server (a token may stand as the user), and query
    fields with names such as "token".
    """

    def hidden(found: re.Match[str]) -> str:
        is_database = found["scheme"].partition("+")[0] in DATABASES
        user = found["user"] if is_database else HIDDEN
        password = f":{HIDDEN}" if is_database and found["password"] else ""
        return f"{found['scheme']}://{user}{password}@"

    return _SECRET_FIELD.sub(rf"\g<1>{HIDDEN}", _CREDENTIALS.sub(hidden, uri))


def told_without_password(message: str, uri: str) -> str:
    """A message about the server at `uri`, with stars for the secrets of `uri`."""
    message = message.replace(uri.rstrip("/"), without_password(uri).rstrip("/"))
    found = _CREDENTIALS.match(uri)
    password = (found["password"] or "").removeprefix(":") if found else ""
    return message.replace(password, HIDDEN) if password else message

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
DATABASES = ("postgresql", "mysql", "mssql")
HIDDEN = "***"
_CREDENTIALS = re.compile(r"^(?P<scheme>[^:/]+)://(?P<user>[^:/@]*)(?P<password>:.*)?@", re.DOTALL)
_SECRET_FIELD = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&#]*", re.IGNORECASE)
_OWN_MEANS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or the service account of the machine",
    "abfs": "AZURE_CLIENT_ID and its like, or the identity of the machine",
}
_SETTINGS = {
    "s3": "allow_delayed_open=true",  # without it pyarrow uploads even small objects in parts, in three requests
    "gs": "retry_limit_seconds=10",  # pyarrow's default is 15 silent minutes
}


def checked_address(address: str, field: str = "--out") -> str:
    """An address such as s3://bucket/prefix. UserError about `field` if its kind is unknown or it holds credentials.

    Addresses are written to files and logs. Settings of pyarrow may follow a question mark, such as
    `endpoint_override=...` (the variable AWS_ENDPOINT_URL does the same).
    """
    scheme, _, rest = address.partition("://")
    place, _, settings = rest.partition("?")
    if scheme not in _AUTHORITIES:
        raise UserError(
            field,
            f"{scheme}://{place.rpartition('@')[2]}",
            allowed="a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or abfs://CONTAINER@ACCOUNT.HOST/PREFIX",
        )
    if not re.fullmatch(_AUTHORITIES[scheme], place.partition("/")[0]) or _SECRET_SETTING.search(settings):
        means = next(means for kind, means in _OWN_MEANS.items() if scheme.startswith(kind[:2]))
        raise UserError(
            field,
            f"{scheme}://...",
            reason="holds credentials, or no bucket; addresses are written to files and logs",
            allowed=f"{scheme}://BUCKET/PREFIX, and credentials from {means}",
        )
    return address


def for_pyarrow(address: str) -> str:
    """A checked address plus those of our settings for pyarrow that it does not name itself."""
    place, _, settings = address.partition("?")
    ours = _SETTINGS.get(place.partition("://")[0].replace("gcs", "gs"), "")
    if not ours or f"&{ours.partition('=')[0]}=" in f"&{settings}":
        return address
    return f"{place}?{settings}&{ours}" if settings else f"{place}?{ours}"


def checked_name(name: str) -> str:
    """A file's name relative to a run directory. UserError if it could lead out of the directory.

    Names come from the contents of a run's files, which may be anybody's.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or not name.isprintable():
        raise UserError(
            "file",
            name,
            reason="is not a name within a run directory",
            allowed="names such as models/NAME/model.json, without empty or dotted parts, backslashes, control "
            "characters",
        )
    return name


def without_password(uri: str) -> str:
    """A tracking URI that may be stored and printed, with stars for its secrets.

    Secrets are a database's password, everything before the host of a server (a token may stand as the user), and
    query fields with names such as "token".
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

"""Which MLflow a run directory is logged to, how that is told without passwords, and how patient we are with it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dbviz_ray.store import Store

MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "PGCONNECT_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a run, with what passwords the address holds
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""With this a server that is down costs a second, and one that does not answer half a minute."""
DATABASES = ("postgresql", "mysql", "mssql")
HIDDEN = "***"
_CREDENTIALS = re.compile(r"^(?P<scheme>[^:/]+)://(?P<user>[^:/@]*)(?P<password>:.*)?@", re.DOTALL)
_SECRET_FIELD = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&#]*", re.IGNORECASE)


def tracking_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI if it is set, else an sqlite file beside the run directory. It may hold a password."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return named or f"sqlite:///{beside(store) / 'mlflow.db'}"


def beside(store: Store) -> Path:
    """The folder for a database and artifacts of our own: the run directory's parent, or the present directory."""
    return Path(store.root).parent if store.is_local else Path.cwd()


def without_password(uri: str) -> str:
    """A tracking URI as it may be stored and printed; stars stand for what is secret.

    That is a database's password, all that stands before the host of a server (a token may be called a user), and
    fields of the query that are named like secrets.
    """

    def hidden(found: re.Match[str]) -> str:
        is_database = found["scheme"].partition("+")[0] in DATABASES
        user = found["user"] if is_database else HIDDEN
        password = f":{HIDDEN}" if is_database and found["password"] else ""
        return f"{found['scheme']}://{user}{password}@"

    return _SECRET_FIELD.sub(rf"\1{HIDDEN}", _CREDENTIALS.sub(hidden, uri))


def told_without_password(message: str, uri: str) -> str:
    """What somebody says about the server at `uri`, with stars for what is secret in that."""
    message = message.replace(uri.rstrip("/"), without_password(uri).rstrip("/"))
    found = _CREDENTIALS.match(uri)
    password = (found["password"] or "").removeprefix(":") if found else ""
    return message.replace(password, HIDDEN) if password else message


def check_reachable(uri: str) -> None:
    """Raise if a database does not let us in: MLflow itself would try ten times, which takes 102 seconds."""
    if uri.partition(":")[0].partition("+")[0] in DATABASES:
        from sqlalchemy import NullPool, create_engine

        create_engine(uri, poolclass=NullPool).connect().close()

"""Waiting for an object store that does not answer for a while.

Whether an error may pass is told from its message, since pyarrow gives most of them no type of their own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from random import SystemRandom
from typing import TypeVar

from dbviz_ray.display import say
from dbviz_ray.errors import one_line

Result = TypeVar("Result")

PATIENCE_SECONDS = 600.0
"""How long a run that is under way waits for its storage: longer than a server's restart or a network's failover."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 30.0
"""Between two tries; each wait is twice the one before. A try takes 6 seconds when nobody answers, and up to 100 when
somebody takes the connection and then is silent, since pyarrow tries again on its own."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_LASTING = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|NO_SUCH_BUCKET|HTTP status (3|4(?!08|29))\d\d"  # S3
    r"|PERMISSION_DENIED|UNAUTHENTICATED|NOT_FOUND|INVALID_ARGUMENT"  # Google
    r"|Authenticat|Authoriz|ContainerNotFound"  # Azure
)
_random = SystemRandom()  # not that of `random`, which others seed: workers must not come back all at once


def may_pass(error: OSError) -> bool:
    """Whether the same operation may succeed later: not if a right, a key, a bucket or a file is wanting."""
    return not isinstance(error, _ABSENT) and not _LASTING.search(str(error))


def waited_for(operation: Callable[[], Result], seconds: float, place: str) -> Result:
    """What `operation` returns, tried again for `seconds` while it fails with an OSError that may pass.

    Standard error tells once that `place` is waited for, and once that it is there again.

    Raises:
        OSError: The last one, when it does not pass or the time is over.
    """
    began, wait, waited = time.monotonic(), FIRST_WAIT_SECONDS, False
    while True:
        try:
            result = operation()
        except OSError as error:
            left = seconds - (time.monotonic() - began)
            if not may_pass(error):  # an answer, such as that there is no such file
                if waited:
                    _tell_return(place, began)
                raise
            if left <= 0:
                raise
            if not waited:
                say("storage", f"{place} fails ({one_line(error)}); trying for {left:.0f} s more")
            waited = True
            time.sleep(min(wait * _random.uniform(0.5, 1), left))
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        else:
            if waited:
                _tell_return(place, began)
            return result


def _tell_return(place: str, began: float) -> None:
    say("storage", f"{place} is there again after {time.monotonic() - began:.0f} s")

"""What is wrong, where something is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from dbviz_ray.errors import Mistake, UserError


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> Mistake:
    """The one mistake that a call is refused for; it is one line."""
    with pytest.raises(UserError) as error:
        call(*arguments, **options)
    (mistake,) = error.value.mistakes
    assert "\n" not in str(mistake)
    return mistake

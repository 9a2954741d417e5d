"""The types of fields."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dbviz_ray.config.registry import check_architecture
from dbviz_ray.errors import FieldError

Count = Annotated[int, Field(strict=True, ge=1)]
Several = Annotated[int, Field(strict=True, ge=2)]
"""A sample size for an interval, which needs at least two."""
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
PositiveShare = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
RecipeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=40)]
Architecture = Annotated[str, AfterValidator(check_architecture)]
Options = dict[str, bool | int | float | str]

DEFAULT_ARCHITECTURE = "fully_connected"
DEFAULT_RECIPE = "default"
DEFAULT_SEEDS = (0, 1)


def not_repeated(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """`values`; FieldError if one of them is repeated."""
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise FieldError(reason=f"repeats {repeated}", allowed="every value once")
    return values


Element = TypeVar("Element")
Values = Annotated[tuple[Element, ...], Field(min_length=1), AfterValidator(not_repeated)]
"""A list of at least one value, none of them twice."""


class Frozen(BaseModel):
    """Immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

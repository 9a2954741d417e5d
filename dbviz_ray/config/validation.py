"""Types of fields; and mistakes in them, each with the field, its value and what is allowed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dbviz_ray.config.registry import check_architecture, nearest
from dbviz_ray.errors import FieldError, Mistake, UserError

Count = Annotated[int, Field(strict=True, ge=1)]
Several = Annotated[int, Field(strict=True, ge=2)]
"""A sample size for an interval, which needs at least two."""
Index = Annotated[int, Field(strict=True, ge=0)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
PositiveShare = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
RecipeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=40)]
Architecture = Annotated[str, AfterValidator(check_architecture)]
Options = dict[str, bool | int | float | str]


def not_repeated(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """`values`; FieldError if one of them is repeated."""
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise FieldError(reason=f"repeats {repeated}", allowed="every value once")
    return values


def absolute(path: str, *, start: str | Path = "") -> str:
    """A relative path from `start`, by default the present folder, as an absolute one: workers stand elsewhere."""
    return path if path.startswith("~") or os.path.isabs(path) else os.path.abspath(os.path.join(start, path))


def file_pattern(text: str) -> str:
    """A pattern of files in a folder, which a command calls {out}; FieldError if it cannot be one."""
    text = text.removeprefix("{out}/")
    try:
        next(Path(os.devnull).glob(text), None)
    except (ValueError, NotImplementedError, IndexError):  # empty, absolute, "."
        raise FieldError(value=text, allowed="a pattern of files in the folder, such as *.pt") from None
    return text


Folder = Annotated[str, AfterValidator(absolute)]
Pattern = Annotated[str, AfterValidator(file_pattern)]
Element = TypeVar("Element")
Values = Annotated[tuple[Element, ...], Field(min_length=1), AfterValidator(not_repeated)]
"""A list of at least one value, none of them twice."""


class Frozen(BaseModel):
    """Immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def excluded(field: str, value: object, beside: str, allowed: str) -> FieldError:
    """The error of a field that another setting excludes."""
    return FieldError(field, value, reason=f"is not allowed with {beside}", allowed=allowed)


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], fields: Mapping[str, Any]) -> Model:
    """`fields` as a `model`; a UserError lists every mistake."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        details = error.errors()
        # A list with a wrong element is not itself wrong.
        causes = [d for d in details if not any(d["loc"] == o["loc"][: len(d["loc"])] != o["loc"] for o in details)]
        raise UserError.of(_mistake(model, detail) for detail in causes) from None


_ALLOWED = {
    "bool_type": "true or false",
    "dict_type": "a mapping of fields",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_type": "an integer",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "model_attributes_type": "a mapping of fields",
    "model_type": "a mapping of fields",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_type": "text; in YAML, text that looks like something else needs quotes",
    "too_short": "a list or mapping of length {min_length} or more",
    "tuple_type": "a list, such as [4,16]",
}
"""What a field may hold, by pydantic's type of error."""


def _mistake(model: type[BaseModel], detail: Any) -> Mistake:
    location = [str(part) for part in detail["loc"] if part != "[key]"]
    field = ".".join(location) or model.__name__
    context = detail.get("ctx", {})
    if isinstance(context.get("error"), FieldError):
        return context["error"].about(".".join(location), detail["input"])  # type: ignore[no-any-return]
    match detail["type"]:
        case "extra_forbidden":
            known = list(_group_at(model, location[:-1]).model_fields)
            return Mistake(field, reason="unknown key", allowed=", ".join(known), hint=nearest(location[-1], known))
        case "missing":
            return Mistake(field, reason="missing; it has no default")
        case kind:
            allowed = _ALLOWED[kind].format(**context) if kind in _ALLOWED else detail["msg"]
            return Mistake(field, detail["input"], allowed=allowed)


def _group_at(model: type[BaseModel], location: Sequence[str]) -> type[BaseModel]:
    """The group of fields at `location` within `model`."""
    parts = iter(location)
    for field in parts:
        model, names = next(groups_in(model.model_fields[field].annotation))
        for _ in names:
            next(parts)
    return model


def groups_in(annotation: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[type[BaseModel], tuple[str, ...]]]:
    """The groups of fields that a value of a type may hold, and what leads to them: a name, N for a place in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, names
    name = {dict: ("NAME",), tuple: ("N",)}.get(get_origin(annotation), ())
    for inner in get_args(annotation):
        yield from groups_in(inner, (*names, *name))

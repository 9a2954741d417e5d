"""The arguments of the commands: a request declares its options, a mistake is one line, as in a configuration."""

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, fields
from functools import partial
from pathlib import Path
from string import Template
from typing import Any, NoReturn

from dbviz_ray.config.registry import nearest
from dbviz_ray.config.sweep_files import set_field
from dbviz_ray.config.validation import file_pattern
from dbviz_ray.errors import FieldError, UserError


def option(name: str, help: str, default: Any = None, group: str = "", **settings: Any) -> Any:
    """A field of a request that the option `name` (or, without dashes, a word) sets; `settings` are those of argparse.

    A default of `{}` makes it an option KEY=VALUE that may be given several times.
    """
    if default == {}:
        settings = {"action": _SetField, "metavar": "KEY=VALUE", **settings}
    if name.startswith("-") and default not in (None, ()) and "action" not in settings:
        help = f"{help} (default: {default})"
    if name.startswith("-") and not {"choices", "action"} & settings.keys():
        settings = {"metavar": name.removeprefix("--").replace("-", "_").upper(), **settings}
    settings = {"default": list(default) if default == () else default, "help": help, **settings}
    metadata = {"name": name, "group": group, "settings": settings}
    return field(metadata=metadata, **({"default_factory": dict} if default == {} else {"default": default}))


def add_options(parser: argparse.ArgumentParser, request: type) -> None:
    """Declare the options of a request: of the fields of a dataclass that `option` made."""
    groups: dict[str, Any] = {"": parser}
    for one in fields(request):
        name, group, settings = one.metadata["name"], one.metadata["group"], one.metadata["settings"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        groups[group].add_argument(name, **settings, **({"dest": one.name} if name.startswith("-") else {}))


@contextmanager
def naming_options(request: type) -> Iterator[None]:
    """Within it, UserErrors about fields of a request name the options instead."""
    of = {one.name: one.metadata for one in fields(request)}
    called = {field: about["settings"].get("metavar", field) for field, about in of.items()}
    called |= {field: about["name"] for field, about in of.items() if about["name"].startswith("-")}
    try:
        yield
    except UserError as error:
        raise error.renamed(lambda name: called.get(name, name)) from None


class _SetField(argparse.Action):
    """KEY=VALUE, the value in YAML."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        entries = dict(getattr(namespace, self.dest))
        if not values.partition("=")[0] or "=" not in values:
            raise UserError(str(option), values, allowed="KEY=VALUE")
        try:
            self._set(entries, values)
        except UserError as error:
            raise error.renamed(lambda name: f"{option} {name}") from None
        setattr(namespace, self.dest, entries)

    def _set(self, entries: dict[str, Any], text: str) -> None:
        set_field(entries, text)


class SetText(_SetField):
    """KEY=VALUE, the value as it stands: "no" is no truth value, and 01 is not 1."""

    def _set(self, entries: dict[str, Any], text: str) -> None:
        key, _, value = text.partition("=")
        entries[key] = value


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are UserErrors that name the option, its value and what is allowed.

    Options may stand between positional words. The text of a command is in help/, with `lists` in place of their names
    after a dollar sign; its first paragraph stands above the options.
    """

    def __init__(self, command: str, request: type | None = None, usage: str | None = None, **lists: str) -> None:
        file = Path(__file__).parent / "help" / f"{command or 'dbviz-ray'}.txt"
        description, _, rest = Template(file.read_text("utf-8").rstrip()).safe_substitute(lists).partition("\n\n")
        layout, name = argparse.RawDescriptionHelpFormatter, f"dbviz-ray {command}".rstrip()
        super().__init__(name, usage, description, rest, formatter_class=layout)
        if request:
            add_options(self, request)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The parsed words; UserError for a mistake."""
        self.exit_on_error = False
        try:
            parsed, unknown = self.parse_known_intermixed_args(args, namespace)
        except argparse.ArgumentError as error:
            raise UserError(error.argument_name or "arguments", reason=error.message) from None
        if unknown:
            option = unknown[0].partition("=")[0]
            hint = nearest(option, [name for name in self._option_string_actions if name.startswith("--")])
            raise UserError(option, reason="unknown option", allowed="what --help lists", hint=hint)
        return parsed

    def error(self, message: str) -> NoReturn:
        """UserError, not a block about the usage."""
        raise UserError("arguments", reason=message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = list(map(str, action.choices))
            raise UserError(_name(action), value, allowed=", ".join(choices), hint=nearest(str(value), choices))

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except UserError as error:
            raise error.renamed(lambda _: _name(action)) from None


def _name(action: argparse.Action) -> str:
    return "/".join(action.option_strings) or str(action.metavar or action.dest)


def integer(text: str) -> int:
    """An option's integer."""
    try:
        return int(text)
    except ValueError:
        raise UserError("", text, allowed="an integer") from None


def number(text: str, allowed: str = "a finite number", above: float = -math.inf, below: float = math.inf) -> float:
    """An option's number strictly between two bounds."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not above < found < below:
        raise UserError("", text, allowed=allowed)
    return found


amount = partial(number, allowed="0 or more", above=-math.ulp(0.0))
"""An option's number that is not negative."""
precision = partial(number, allowed="more than 0 and less than 1", above=0, below=1)
"""The half-width of an interval of shares."""


def count(text: str) -> int:
    """An option's integer that is not negative."""
    if integer(text) < 0:
        raise UserError("", text, allowed="0 or more")
    return int(text)


def pattern(text: str) -> str:
    """A pattern of files in a folder."""
    try:
        return file_pattern(text)
    except FieldError as error:
        raise UserError.of([error.about("", text)]) from None


def numbers(text: str) -> tuple[float, ...]:
    """An option's finite numbers, separated by commas."""
    try:
        return tuple(map(number, text.split(",")))
    except UserError:
        raise UserError("", text, allowed="finite numbers, separated by commas") from None


def share(text: str, field: str = "") -> float:
    """A share, such as 0.01 or 1%."""
    with suppress(ValueError):
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        if 0 <= found <= 1:
            return found
    raise UserError(field, text, allowed="from 0 to 1, or from 0% to 100%")

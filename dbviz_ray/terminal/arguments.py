"""The parser of the commands: a mistake is one line, as in a configuration."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from dbviz_ray.config.registry import nearest
from dbviz_ray.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are UserErrors that name the option, its value and what is allowed.

    Options may stand between positional words.
    """

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


def numbers(text: str) -> tuple[float, ...]:
    """An option's finite numbers, separated by commas."""
    try:
        return tuple(map(number, text.split(",")))
    except UserError:
        raise UserError("", text, allowed="finite numbers, separated by commas") from None


def precision(text: str) -> float:
    """The half-width of an interval of shares."""
    return number(text, "more than 0 and less than 1", 0, 1)

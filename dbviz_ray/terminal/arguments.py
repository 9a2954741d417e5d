"""What the commands' parsers share: every mistake in a command line is one line, like those in a configuration."""

from __future__ import annotations

import argparse
import math
import re
from typing import NoReturn

from dbviz_ray.config.registry import nearest
from dbviz_ray.errors import UserError

_CHOICE = re.compile(r"^(?P<option>\S+): invalid choice: (?P<value>'.*') \(choose from (?P<allowed>.*)\)$")


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are UserErrors, which name the option, its value and what is allowed."""

    def error(self, message: str) -> NoReturn:
        """UserError in place of a block about the usage."""
        text = message.removeprefix("argument ")
        unknown = text.removeprefix("unrecognized arguments: ")
        if unknown != text:
            option = unknown.split()[0].partition("=")[0]
            hint = nearest(option, [name for name in self._option_string_actions if name.startswith("--")])
            raise UserError(f"{option}: unknown option; {hint}allowed: those that --help names")
        choice = _CHOICE.match(text)
        if choice is not None:
            allowed = choice["allowed"].replace("'", "")
            raise UserError(f"{choice['option']}: {choice['value']} is not allowed; allowed: {allowed}")
        raise UserError(text)


def integer(text: str) -> int:
    """An option's integer."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: an integer") from None


def number(text: str) -> float:
    """An option's finite number."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a finite number")
    return found


def numbers(text: str) -> tuple[float, ...]:
    """An option's finite numbers, commas between them."""
    try:
        return tuple(number(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; allowed: finite numbers with commas between them"
        ) from None


def precision(text: str) -> float:
    """Half an interval, as --precision wants it."""
    try:
        reach = float(text)
    except ValueError:
        reach = 0.0
    if not 0 < reach < 1:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; allowed: more than 0 and less than 1")
    return reach

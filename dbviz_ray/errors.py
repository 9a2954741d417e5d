"""What can go wrong outside the program. Every message says what happened, where, and what to do."""

import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Self

ABSENT: Final = object()
"""Stands for a value that a mistake does not have."""

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxdict = 3, 30, 30, 30
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 200
"""How messages quote a value: YAML's aliases can make one that is endless when it is written out."""


def printable(text: str) -> str:
    """`text` with control characters spelled out, except line ends: a terminal would obey those of anybody's file."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


@dataclass(frozen=True)
class Mistake:
    """One thing that the user can correct."""

    field: str
    """What is wrong: a configuration field, an option or a file."""
    value: Any = ABSENT
    """What it holds."""
    reason: str = ""
    """What is wrong with it; "is not allowed" if only the value is given."""
    allowed: str = ""
    """What it may hold."""
    hint: str = ""
    """A guess at what was meant, such as "did you mean width?"."""

    def __str__(self) -> str:
        """The mistake on one line: `field: value reason; hint allowed: ...`."""
        told = self.reason or "is not allowed" * (self.value is not ABSENT)
        if self.value is not ABSENT:
            quoted = _SHORT.repr(self.value) if isinstance(self.value, str | list | tuple | dict) else str(self.value)
            told = f"{quoted} {told}"
        advice = " ".join(filter(None, [self.hint, f"allowed: {self.allowed}" if self.allowed else ""]))
        text = "; ".join(filter(None, [told, advice]))
        return printable(": ".join(filter(None, [self.field, text])))


class UserError(Exception):
    """A configuration, file or argument cannot be used; the arguments are those of a `Mistake`.

    Commands print one line a mistake and exit with code 2.
    """

    def __init__(self, field: str, value: Any = ABSENT, *, reason: str = "", allowed: str = "", hint: str = "") -> None:
        super().__init__(field)
        self.mistakes: tuple[Mistake, ...] = (Mistake(field, value, reason, allowed, hint),)

    @classmethod
    def of(cls, mistakes: Iterable[Mistake]) -> Self:
        """An error about several mistakes."""
        error = cls("")
        error.mistakes = tuple(mistakes)
        return error

    def renamed(self, name: Callable[[str], str]) -> Self:
        """The same mistakes under other names: the reader of an address does not know its option, the caller does."""
        return self.of(replace(mistake, field=name(mistake.field)) for mistake in self.mistakes)

    def __str__(self) -> str:
        return "\n".join(map(str, self.mistakes))

    def __reduce__(self) -> tuple[Any, ...]:
        # A value may be of a type that another process cannot read, and ABSENT is itself in this process alone.
        return UserError.of, (tuple(Mistake(str(mistake)) for mistake in self.mistakes),)


class FieldError(ValueError):
    """A field of a configuration does not fit; pydantic collects these, `validated` makes a UserError of them.

    `field` is its dotted name from where the validator stands, "" for the validated field itself.
    """

    def __init__(
        self, field: str = "", value: Any = ABSENT, *, reason: str = "", allowed: str = "", hint: str = ""
    ) -> None:
        self.mistake = Mistake(field, value, reason, allowed, hint)
        super().__init__(str(self.mistake))

    def about(self, field: str, value: Any) -> Mistake:
        """The mistake as one of `field`, whose value is `value` unless the mistake names an inner field."""
        own = self.mistake
        if own.field:
            return replace(own, field=f"{field}.{own.field}" if field else own.field)
        return replace(own, field=field, value=value if own.value is ABSENT else own.value)


class DamagedFileError(Exception):
    """A file of a run directory does not hold what was written: it was cut off, or changed on the disk."""

    def __init__(self, name: str, path: str, reason: str) -> None:
        super().__init__(name, path, reason)
        self.name = name
        """Relative to the run directory."""
        self.path = path

    def __str__(self) -> str:
        _, path, reason = self.args
        return printable(f"{path} is damaged ({reason})")


class StageFailedError(Exception):
    """A stage could not finish; its finished work is kept."""


class StorageError(OSError):
    """The run directory cannot be read or written: no model is to blame, and the next one would fail likewise."""


def one_line(error: BaseException, with_type: bool | None = None) -> str:
    """An error's message on one line, its type before it; by default only where the message alone says little."""
    message = printable(" ".join(str(error).split()))
    telling = isinstance(error, OSError | ValueError | RuntimeError | UserError) and message
    return f"{type(error).__name__}: {message}" if with_type or (with_type is None and not telling) else message

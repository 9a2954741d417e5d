"""What can go wrong outside the program, each with a message that says what to do or to delete."""


def printable(text: str) -> str:
    """A text whose control characters, but for ends of lines, are spelled out, so that a terminal does not obey them.

    Messages quote names and texts of files, and these may be anybody's.
    """
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


class UserError(Exception):
    """A configuration, file or argument is not usable; the message names it and says what is allowed.

    Shown as a single line, exit code 2, no traceback.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class DamagedFileError(Exception):
    """A file of a run directory is there but does not hold what was written: cut off, or changed on the disk."""

    def __init__(self, name: str, path: str, reason: str) -> None:
        super().__init__(name, path, reason)
        self.name = name
        """Relative to the run directory."""
        self.path = path

    def __str__(self) -> str:
        _, path, reason = self.args
        return printable(f"{path} is damaged ({reason})")


class StorageError(OSError):
    """The run directory cannot be written or read: a full disk, a lost right, a store that stays away.

    No model is to blame, and none that comes after would fare better.
    """


def one_line(error: BaseException, with_type: bool | None = None) -> str:
    """An error's message on one line, its type before it; by default only where the message alone says little."""
    message = printable(" ".join(str(error).split()))
    telling = isinstance(error, OSError | ValueError | RuntimeError | UserError) and message
    return f"{type(error).__name__}: {message}" if with_type or (with_type is None and not telling) else message

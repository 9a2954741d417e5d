"""The one exception that a user can cause and mend: shown as a single line, exit code 2, no traceback."""


class UserError(Exception):
    """A configuration, file or argument is not usable; the message names it and says what is allowed."""

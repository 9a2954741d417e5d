"""What commands share on a terminal: arguments, progress, interruption, one line for each error, and the exit code."""

import gc
import sys
from collections.abc import Callable

from dbviz_ray.errors import DamagedFileError, StageFailedError, StorageError, UserError
from dbviz_ray.terminal import interruption

EXIT_FAILED, EXIT_USAGE = 1, 2

RARE = 50_000, 20, 100
"""Thresholds of the garbage collector. At Python's own, it takes a third of the time of importing torch."""


def run_command(name: str, command: Callable[[], None], continues: str = "the same command continues") -> int:
    """Run `command` and return its exit code; standard error gets one line for each mistake, beginning with `name`.

    `continues` tells how to go on after an interruption or a failure of the storage.
    """

    def say(text: object) -> None:
        for line in str(text).splitlines():
            print(f"{name}: {line}", file=sys.stderr)

    interruption.install()
    gc.set_threshold(*RARE)
    try:
        command()
    except UserError as error:
        say(error)
        return EXIT_USAGE
    except (StageFailedError, DamagedFileError) as error:
        say(error)
        return EXIT_FAILED
    except StorageError as error:
        say(f"{error}. Finished work is kept; {continues}")
        return EXIT_FAILED
    except KeyboardInterrupt as stop:
        say(f"interrupted; {' '.join(getattr(stop, '__notes__', ())) or continues}")
        return interruption.exit_code()
    finally:
        gc.freeze()  # else Python looks through all objects once more at exit, which takes a second
    return 0

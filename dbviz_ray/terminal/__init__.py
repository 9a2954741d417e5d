"""What commands share on a terminal: arguments, progress, interruption, one line for each error, and the exit code."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from dbviz_ray.errors import DamagedFileError, StageFailedError, StorageError, UserError, one_line
from dbviz_ray.terminal import interruption

EXIT_FAILED, EXIT_USAGE = 1, 2

EXTRAS = {"torch": "sweep", "torchvision": "sweep", "ray": "sweep", "scikit-learn": "sweep", "mlflow": "mlflow"}
"""Packages that not every command needs, and the extra of this package that brings each."""
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
        if sys.stdout is not None:
            sys.stdout.flush()
    except UserError as error:
        say(error)
        return EXIT_USAGE
    except (StageFailedError, DamagedFileError) as error:
        say(error)
        return EXIT_FAILED
    except StorageError as error:
        say(f"{error}. Finished work is kept; {continues}")
        return EXIT_FAILED
    except BrokenPipeError:  # whoever reads standard output has enough, as `head` does
        return 128 + signal.SIGPIPE
    except (OSError, ImportError, MemoryError) as error:  # what the machine lacks: room, rights, a library's memory
        if isinstance(error, ImportError) and (package := str(error.name).partition(".")[0]) in EXTRAS:
            say(not_installed(package))
            return EXIT_FAILED
        gone = "the current folder has been deleted: " * (not _has_folder())
        say(f"{gone}{one_line(error, with_type=True)}. Finished work is kept; {continues}")
        return EXIT_FAILED
    except KeyboardInterrupt as stop:
        say(f"interrupted; {' '.join(getattr(stop, '__notes__', ())) or continues}")
        return interruption.exit_code()
    finally:
        gc.freeze()  # else Python looks through all objects once more at exit, which takes a second
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:  # forget what it does not take; else Python tries once more at exit, and says so
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def not_installed(package: str) -> str:
    """What to do about one of the `EXTRAS` that is missing."""
    return f"{package} is not installed: pip install 'dbviz-ray[{EXTRAS[package]}]'"


def _has_folder() -> bool:
    with suppress(OSError):
        return bool(os.getcwd())
    return False

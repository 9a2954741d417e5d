"""The command `dbviz-ray`, which is also `python -m dbviz_ray`."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from dbviz_ray.terminal import run_command
from dbviz_ray.terminal.arguments import Parser, add_options

COMMANDS = {
    "sweep": ("dbviz_ray.sweep", "Request", "train a grid of networks, label planes with each, score and draw them"),
    "score": ("dbviz_ray.score", "Request", "compare two or more trained models of your own"),
    "repeat": ("dbviz_ray.repeat", "Request", "train several times with a command of your own, and compare"),
    "compare": ("dbviz_ray.predictions", "Comparing", "compare predictions in files, of any framework"),
    "gate": ("dbviz_ray.predictions", "Gating", "decide from predictions whether a new model may replace an old one"),
    "figures": ("dbviz_ray.redraw", "Figures", "draw the figures of a finished sweep again"),
    "verify": ("dbviz_ray.verify", "Verification", "check that the files of a run are as they were written"),
    "disagreement": ("dbviz_ray.redraw", "Disagreement", "draw where two models of a sweep disagree"),
}
"""The module of each command, what declares its options, and what it does. Only the command imports the module."""
OF_FILES = ("compare", "gate")
"""The commands that run no code of a user's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first word names; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        name, *rest = words
        if arguments is None and name not in OF_FILES:
            _find_own_modules()
        module = importlib.import_module(COMMANDS[name][0])
        return int(module.main(rest, command=name))
    return run_command("dbviz-ray", lambda: _explain(words))


def _find_own_modules() -> None:
    """Let imports find modules in the present folder, as `python -m dbviz_ray` does."""
    with suppress(FileNotFoundError):  # the folder is gone; the command says so
        folder = str(Path.cwd())
        if folder not in sys.path:
            sys.path.insert(0, folder)


def _explain(words: Sequence[str]) -> None:
    """Answer --help, --version and --print-completion."""
    lines = "\n".join(f"  {name:14}{text}" for name, (*_, text) in COMMANDS.items())
    parser = Parser("", usage="dbviz-ray COMMAND ...", commands=lines)
    parser.add_argument("--version", action="version", version=f"dbviz-ray {version('dbviz-ray')}")
    parser.add_argument(
        "--print-completion", choices=["bash", "zsh", "tcsh"], metavar="SHELL", help="print the completion of a shell"
    )
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    parsed = parser.parse_args(words)
    if not parsed.print_completion:
        parser.print_help()
        return
    import shtab

    whole = argparse.ArgumentParser(prog="dbviz-ray")
    commands = whole.add_subparsers()
    for name, (module, request, text) in COMMANDS.items():
        add_options(commands.add_parser(name, help=text), getattr(importlib.import_module(module), request))
    print(shtab.complete(whole, parsed.print_completion))


if __name__ == "__main__":
    sys.exit(main())

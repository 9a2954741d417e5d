"""A recipe: a command with placeholders, and the trainings that it stands for."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from dbviz_ray.errors import UserError

SEED, OUT = "seed", "out"
"""The placeholders that every recipe has: a training's seed, and the folder for what it writes."""
AGAIN = "-again"
"""The end of the name of a training that repeats another with its seed."""
_PLACEHOLDER = re.compile(r"(?<!\$)(\{)?\{([A-Za-z_]\w*)\}(?(1)\})")
"""Such as {seed}. {{seed}} stands for the text {seed}; ${seed} is a variable of the shell's."""


@dataclass(frozen=True)
class Trial:
    """One training."""

    name: str
    """Also that of its folder, such as "lr=0.1-seed=0"."""
    words: tuple[str, ...]
    """The command."""
    folder: Path
    """Where it writes, and where its log and its outcome are."""
    place: Path
    """The folder that it is started in."""
    group: tuple[str, ...]
    """The values of the varied placeholders: trainings of one group differ in their seeds alone."""
    seed: int

    @property
    def written(self) -> Path:
        """The folder that stands for `{out}`."""
        return self.folder / "out"


def trials_of(
    command: Sequence[str],
    seeds: Sequence[int],
    varied: Mapping[str, Sequence[str]],
    folder: Path,
    *,
    again: bool = False,
    name: str = "",
    here: Path | None = None,
) -> list[Trial]:
    """Every training of a recipe, the seeds of a group together; with `again`, the first one twice.

    Each is called after its values, or, if there is one alone, `name`. It is started `here`, by default in the present
    folder; without `{out}` in the command, in the folder that it writes to, and words that name files or folders here
    become whole paths then. UserError for a placeholder that is missing or unknown.
    """
    if taken := {SEED, OUT} & varied.keys():
        raise UserError("vary", taken.pop(), reason="is a placeholder of its own", allowed="another name")
    known = {SEED, OUT, *varied}
    named = placeholders(command)
    if not command:
        raise UserError("command", reason="is missing", allowed="-- python train.py --seed {seed} --out {out}")
    for lacking in (key for key in (SEED, *varied) if key not in named):
        raise UserError("command", reason=f"has no {{{lacking}}}, so all its trainings would be alike")
    if unknown := sorted(named - known):
        allowed = ", ".join(f"{{{key}}}" for key in sorted(known))
        allowed += "; --vary makes others, and {{x}} stands for the text {x}"
        raise UserError("command", f"{{{unknown[0]}}}", reason="is unknown", allowed=allowed)
    here, root = here or Path.cwd(), folder.resolve()
    trials: list[Trial] = []
    for values in product(*varied.values()):
        group = dict(zip(varied, values, strict=True))
        for seed in seeds:
            for repeated in (False, True)[: 1 + (again and not trials)]:
                called = name or "-".join([*(f"{key}={value}" for key, value in group.items()), f"seed={seed}"])
                own = root / re.sub(r"[^\w.=,+-]", "_", called + AGAIN * repeated)
                filled = {SEED: str(seed), OUT: str(own / "out"), **group}
                each = tuple(_filled(word, filled) for word in command)
                if OUT not in named:
                    each = tuple(_whole(word, here) for word in each)
                trials.append(Trial(own.name, each, own, here if OUT in named else own / "out", tuple(values), seed))
    if len({trial.folder for trial in trials}) < len(trials):
        raise UserError("vary", reason="gives two trainings one name", allowed="values that differ")
    return trials


def placeholders(command: Sequence[str]) -> set[str]:
    """The names in braces."""
    return {name for word in command for twice, name in _PLACEHOLDER.findall(word) if not twice}


def _filled(word: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: found[0][1:-1] if found[1] else values[found[2]], word)


def _whole(word: str, here: Path) -> str:
    """The whole path of a file here, or of a folder that the word names with a slash."""
    with suppress(OSError):  # a word that is too long for a path
        if word and ((here / word).is_file() or ("/" in word and (here / word).exists())):
            return str(here / word)
    return word

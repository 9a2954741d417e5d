"""What trainings wrote: the file of each that is compared, and where two trainings of one seed part."""

import filecmp
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dbviz_ray.errors import UserError
from dbviz_ray.formatting import listed

from .recipe import Trial
from .running import outputs

MOST_NAMED = 5


@dataclass(frozen=True)
class Collected:
    """The files of a training that match the pattern, in the order of their names."""

    trial: Trial
    files: tuple[Path, ...]

    @property
    def file(self) -> Path:
        """The one that is compared: the last one."""
        return self.files[-1]

    @property
    def digest(self) -> str:
        """Its sha256."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


def collect(trials: Sequence[Trial], pattern: str) -> list[Collected]:
    """The files of each training. UserError if one wrote none that matches."""
    found = [Collected(trial, tuple(outputs(trial, pattern))) for trial in trials]
    for one in found:
        if not one.files:
            names = sorted(str(path.relative_to(one.trial.written)) for path in one.trial.written.rglob("*"))
            wrote = f"it wrote {listed(names, MOST_NAMED)}" if names else "it wrote nothing to its folder"
            reason = f"matches no file of {one.trial.name}; {wrote}"
            raise UserError("predictions", pattern, reason=reason, allowed="--predictions or --weights with a pattern")
    return found


def same_seed_sentence(first: Collected, again: Collected) -> str:
    """Whether two trainings of one seed are alike; if not, from which file on, or which other files differ."""
    seed = f"Two trainings with seed {first.trial.seed}"
    pairs = list(zip(first.files, again.files, strict=False))
    differ = [place for place, (one, other) in enumerate(pairs) if not _alike(one, other)]
    if len(first.files) != len(again.files):
        return f"{seed} wrote {len(first.files)} and {len(again.files)} files: the command is not deterministic."
    if not differ and (others := _others_that_differ(first, again)):
        same = listed([path.name for path in first.files], MOST_NAMED)
        return f"{seed} wrote the same {same} to the bit, but other files differ: {listed(others, MOST_NAMED)}."
    if not differ:
        return f"{seed} wrote the same files to the bit: the command is deterministic here."
    if len(pairs) == 1:
        return f"{seed} wrote different files ({pairs[0][0].name}): the command is not deterministic."
    name, count = pairs[differ[0]][0].name, len(pairs)
    return f"{seed} differ from {name} on, file {differ[0] + 1} of {count}: the command is not deterministic."


def _others_that_differ(first: Collected, again: Collected) -> list[str]:
    """Of the files that are not compared, those that are not equal in both trainings."""
    one, other = first.trial.written, again.trial.written
    names = {path.relative_to(one) for path in outputs(first.trial, "**/*")}
    names |= {path.relative_to(other) for path in outputs(again.trial, "**/*")}
    names -= {path.relative_to(one) for path in first.files}
    return [str(name) for name in sorted(names) if not _alike(one / name, other / name)]


def _alike(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)

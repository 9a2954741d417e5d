"""Whose run directory it is: the resolved configuration in it, and when another one is refused."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import ValidationError

from dbviz_ray.config import SweepConfig, differing_fields
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.store.directory import Directory
from dbviz_ray.validation import validated

SWEEP_FILE = "sweep.yaml"


class OwnedDirectory(Directory):
    """A directory of one sweep."""

    def claim(self, sweep: SweepConfig) -> None:
        """Make this directory `sweep`'s, or check that it is. UserError if it is another's or not writable."""
        text = yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False)
        self.check_owner(sweep)
        try:
            self.write(SWEEP_FILE, text.encode())
        except OSError as error:
            raise UserError(f"--out: {self.root} cannot be written ({one_line(error)})") from None

    def check_owner(self, sweep: SweepConfig) -> None:
        """UserError if the directory holds a sweep whose results would differ from those of `sweep`."""
        try:
            owner = self._owner()
        except (FileNotFoundError, NotADirectoryError):
            self._check_empty()
            return
        except UserError as error:
            raise UserError(f"--out: {error}") from None
        identity = sweep.identity()
        stored = _with_defaults(owner)
        fields = list(differing_fields({key: stored.get(key) for key in identity}, identity))
        if fields:
            named = ", ".join(fields[:4]) + (", ..." if len(fields) > 4 else "")
            name = owner.get("name") if isinstance(owner.get("name"), str) else "without a name"
            raise UserError(
                f"--out: {self.root} belongs to a different sweep ({name}: {named} differ); "
                "allowed: an empty directory, or the same sweep"
            )

    def sweep(self) -> SweepConfig:
        """The sweep whose directory this is. UserError if it is none's."""
        try:
            return validated(SweepConfig, self._owner())
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{self.root}: holds no {SWEEP_FILE}; allowed: a run directory of a sweep") from None

    def _owner(self) -> dict[str, Any]:
        try:
            owner = yaml.safe_load(self.read(SWEEP_FILE))
        except (FileNotFoundError, NotADirectoryError):
            raise
        except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{self.path(SWEEP_FILE)} cannot be read ({one_line(error)})") from None
        if not isinstance(owner, dict):
            raise UserError(f"{self.path(SWEEP_FILE)} is damaged; delete it if the directory is this sweep's")
        return owner

    def _check_empty(self) -> None:
        try:
            in_use = self.holds_anything()
        except NotADirectoryError:
            raise UserError(f"--out: {self.root} is a file; allowed: a directory") from None
        if in_use:
            raise UserError(
                f"--out: {self.root} holds files but no {SWEEP_FILE}, so it is not a run directory; "
                "allowed: an empty directory, or one that a sweep made"
            )


def _with_defaults(owner: dict[str, Any]) -> dict[str, Any]:
    """A stored sweep with the fields that sweeps have got since then."""
    try:
        return SweepConfig.model_validate(owner).identity()
    except ValidationError:
        return owner

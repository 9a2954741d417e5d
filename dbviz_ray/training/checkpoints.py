"""A cohort's training state: its parts, the state of some members, and its file in the store."""

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from dbviz_ray.config import Cohort
from dbviz_ray.errors import DamagedFileError
from dbviz_ray.store import Store
from dbviz_ray.store.layout import COHORT_STATE
from dbviz_ray.training.gradients import State
from dbviz_ray.training.states import Manner

HISTORIES, EPOCH, STACK = "history", "epoch", "stack"
MANNER = [field.name for field in fields(Manner)]


class CohortCheckpoints:
    """A cohort's checkpoints in the store, each of which replaces the last one, completely or not at all."""

    def __init__(self, store: Store, cohort: Cohort) -> None:
        self._store, self._cohort = store, cohort
        self._file = store.cohort_file(cohort.cohort_id, COHORT_STATE)
        self._is_named = False
        self.remark: str | None = None
        """What the user should know about the last `load`."""

    def load(self) -> State | None:
        """The last saved state; None without one or, with a `remark`, if it is damaged."""
        try:
            return self._store.read_tensors(self._file)
        except FileNotFoundError:
            return None
        except DamagedFileError as error:
            self.remark = f"{error}; the training of this cohort starts again"
            return None

    def save(self, state: State) -> None:
        """Replace the last state. The first call also writes the members' names, for resuming."""
        if not self._is_named:
            self._store.write_cohort_members(self._cohort.cohort_id, [model.model_id for model in self._cohort.models])
            self._is_named = True
        self._store.write_tensors(self._file, {name: tensor.cpu() for name, tensor in state.items()})

    def split(self, parts: Sequence[Cohort]) -> None:
        """Replace a saved state by one for each of `parts`, from which they continue."""
        state = self.load()
        if state is None:
            return
        places = {model.model_id: place for place, model in enumerate(self._cohort.models)}
        for part in parts:
            members = [places[model.model_id] for model in part.models]
            CohortCheckpoints(self._store, part).save(state_of_members(state, members))
        self._store.drop_cohort(self._cohort.cohort_id)


def state_of_members(state: State, members: Sequence[int]) -> State:
    """Copies of the state of these members, in this order, as the state of a cohort of their own.

    Training continues from it as in the whole cohort, up to the rounding of another stack. IndexError unless the whole
    has them.
    """
    chosen = torch.tensor(members)

    def of_members(name: str, tensor: Tensor) -> Tensor:
        if name == STACK:
            return tensor.clamp(max=len(members))
        if name == EPOCH or name in MANNER:
            return tensor.clone()
        return tensor.index_select(-1 if name == HISTORIES else 0, chosen.to(tensor.device))

    return {name: of_members(name, tensor) for name, tensor in state.items()}

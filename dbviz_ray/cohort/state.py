"""What a cohort's training is between two epochs, as tensors by name, and the same of some of its members.

"parameters/NAME", "buffers/NAME" and "optimizer/MOMENT/NAME" are `[members, ...]`, "history" is `[columns, epochs,
members]`; "optimizer/step", "epoch" and "stack" are numbers that the members share.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dbviz_ray.cohort.gradients import State
from dbviz_ray.cohort.optimizers import STEP

PARAMETERS, BUFFERS, OPTIMIZER = "parameters", "buffers", "optimizer"
HISTORY, EPOCH, STACK = "history", "epoch", "stack"
SHARED = {EPOCH, f"{OPTIMIZER}/{STEP}"}


def state_of_members(state: State, members: Sequence[int]) -> State:
    """The state of a cohort that is made of these members of another one, in this order.

    Training goes on from it as it would have for them in the whole cohort, up to the rounding of another stack. Copies
    throughout: the whole may be freed. ValueError unless the members are some of the whole's.
    """
    total = state[HISTORY].shape[-1]
    if not members or not all(0 <= member < total for member in members):
        raise ValueError(f"members: {list(members)} are not allowed; allowed: some of 0 to {total - 1}")
    chosen = torch.tensor(members)

    def of_members(name: str, tensor: Tensor) -> Tensor:
        if name in SHARED:
            return tensor.clone()
        if name == STACK:
            return tensor.clamp(max=len(members))
        return tensor.index_select(-1 if name == HISTORY else 0, chosen.to(tensor.device))

    return {name: of_members(name, tensor) for name, tensor in state.items()}

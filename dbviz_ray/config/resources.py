"""Where a sweep runs and which resources it uses."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dbviz_ray.config.addresses import checked_address
from dbviz_ray.config.types import Count, Frozen, NonNegative
from dbviz_ray.errors import FieldError


def _not_relative(folder: str) -> str:
    """Make a path absolute: workers have other working directories, where a relative path means another folder."""
    return folder if folder.startswith("~") else os.path.abspath(folder)


def _without_credentials(address: str) -> str:
    # A UserError passes through pydantic, which would repeat the address in the message of a ValueError.
    return checked_address(address, "resources.reuse") if "://" in address else address


class ResourcesConfig(Frozen):
    """Where a sweep runs and which resources it uses. These fields change results only by floating-point rounding,
    with one exception: a GPU draws different dropout masks and attack starts than a CPU."""

    cpus_per_cohort: Count = Field(1, description="CPU cores, and torch threads, of one training trial.")
    gpus_per_cohort: NonNegative = Field(0.0, description="GPUs, or a fraction of one, for one training trial.")
    small_cohorts_per_gpu: Count = Field(
        1, description="Trials that share `gpus_per_cohort` if their networks are too small to fill it."
    )
    gpu_memory: NonNegative | None = Field(
        None, description="Memory of one GPU in GiB; a cohort that needs more than its share gets the GPU alone."
    )
    max_cohort_size: Count = Field(32, description="Largest number of models in one cohort.")
    stack: Count | None = Field(
        None,
        description="Models of a cohort computed as one network. If unset, each cohort measures the fastest number "
        "that fits into memory when it starts. Set it to repeat a run to the last bit.",
    )
    execution: Literal["auto", "eager", "compiled", "cuda_graph"] = Field(
        "auto", description="How a captured training step runs; auto: cuda_graph on a GPU, eager on a CPU."
    )
    cpus_per_evaluator: Count = Field(1, description="CPU cores, and torch threads, of one evaluator.")
    gpus_per_evaluator: NonNegative = Field(0.0, description="GPUs, or a fraction of one, for one evaluator.")
    evaluators: Count | None = Field(None, description="Number of evaluator actors; if unset, as many as fit.")
    checkpoint_seconds: NonNegative = Field(60.0, description="Time between two checkpoints of a cohort.")
    retries: Annotated[int, Field(strict=True, ge=0)] = Field(
        3, description="Restarts of a cohort, or of an evaluator, whose process died."
    )
    data_directory: Annotated[str, AfterValidator(_not_relative)] = Field(
        "~/.cache/dbviz_ray", description="Folder for downloaded data sets, on every node."
    )
    reuse: tuple[Annotated[str, AfterValidator(_without_credentials)], ...] = Field(
        (), description="Run directories of other sweeps; models with equal settings are copied, not trained."
    )
    gpu_hour_price: NonNegative | None = Field(None, description="Price of one GPU hour, shown by --plan.")

    @model_validator(mode="after")
    def _graphs_need_a_gpu(self) -> ResourcesConfig:
        if self.execution == "cuda_graph" and not self.gpus_per_cohort:
            raise FieldError(
                "execution",
                "cuda_graph",
                reason="is not allowed with gpus_per_cohort=0",
                allowed="auto, eager or compiled",
            )
        return self

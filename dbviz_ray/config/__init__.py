"""What a sweep is: typed, frozen, checked at the door, so that inner code can trust it.

    SweepConfig --models()--> ModelConfig, ... --cohorts()--> Cohort, ...

A `ModelConfig` is one cell of the grid with every field resolved; its `model_id` is a readable slug plus a
hash over all of them and `SCHEMA_VERSION`, so a changed default can never pass for an old result.
"""

from __future__ import annotations

from dbviz_ray.config.grid import GridConfig
from dbviz_ray.config.model import SCHEMA_VERSION, Cohort, ModelConfig, Seeds, differing_fields, fingerprint, slugified
from dbviz_ray.config.planes import MarginsConfig, PlaneSetConfig, common_noise
from dbviz_ray.config.resources import ResourcesConfig
from dbviz_ray.config.sweep import SweepConfig
from dbviz_ray.config.training import AdversaryConfig, DatasetConfig, DistillationConfig, TrainingConfig
from dbviz_ray.config.types import Count, Frozen, NonNegative, Positive, Share

__all__ = [
    "SCHEMA_VERSION",
    "AdversaryConfig",
    "Cohort",
    "Count",
    "DatasetConfig",
    "DistillationConfig",
    "Frozen",
    "GridConfig",
    "MarginsConfig",
    "ModelConfig",
    "NonNegative",
    "PlaneSetConfig",
    "Positive",
    "ResourcesConfig",
    "Seeds",
    "Share",
    "SweepConfig",
    "TrainingConfig",
    "common_noise",
    "differing_fields",
    "fingerprint",
    "slugified",
]

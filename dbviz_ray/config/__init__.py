"""The configuration of a sweep: typed, immutable, and checked when it is read, so that other rooms can trust it.

SweepConfig --models()--> ModelConfig, ... --cohorts()--> Cohort, ...
"""

from dbviz_ray.config.model import Cohort, ModelConfig, Seeds, differing_fields, fingerprint
from dbviz_ray.config.planes import MarginsConfig, PlaneSetConfig, largest_noises
from dbviz_ray.config.sweep import ResourcesConfig, SweepConfig
from dbviz_ray.config.training import AdversaryConfig, DatasetConfig, DistillationConfig, TrainingConfig

__all__ = [
    "AdversaryConfig", "Cohort", "DatasetConfig", "DistillationConfig", "MarginsConfig", "ModelConfig",
    "PlaneSetConfig", "ResourcesConfig", "Seeds", "SweepConfig", "TrainingConfig", "differing_fields", "fingerprint",
    "largest_noises",
]  # fmt: skip

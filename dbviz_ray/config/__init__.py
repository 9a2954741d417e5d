"""The configuration of a sweep: typed, immutable, and checked when it is read, so that other rooms can trust it.

SweepConfig --models()--> ModelConfig, ... --cohorts()--> Cohort, ...
"""

from dbviz_ray.config.grid import GridConfig
from dbviz_ray.config.model import Cohort, ModelConfig, Seeds, differing_fields, fingerprint
from dbviz_ray.config.planes import MarginsConfig, PlaneSetConfig, largest_noises
from dbviz_ray.config.sweep import ResourcesConfig, SweepConfig
from dbviz_ray.config.training import AdversaryConfig, DatasetConfig, DistillationConfig, TrainingConfig
from dbviz_ray.config.validation import Count, Positive, Share

__all__ = [
    "AdversaryConfig",
    "Cohort",
    "Count",
    "DatasetConfig",
    "DistillationConfig",
    "GridConfig",
    "MarginsConfig",
    "ModelConfig",
    "PlaneSetConfig",
    "Positive",
    "ResourcesConfig",
    "Seeds",
    "Share",
    "SweepConfig",
    "TrainingConfig",
    "differing_fields",
    "fingerprint",
    "largest_noises",
]

"""Tasks: what is learnt, by which loss, and how well it went in human units."""

from mtlface.tasks.binary import BinaryTask
from mtlface.tasks.category import CategoryTask
from mtlface.tasks.distribution import DistributionTask
from mtlface.tasks.distributions import (
    Coral,
    Corn,
    CrossEntropy,
    LabelDistribution,
    MeanVariance,
)
from mtlface.tasks.identity import IdentityTask
from mtlface.tasks.landmarks import LandmarkTask
from mtlface.tasks.losses import WingLoss
from mtlface.tasks.multilabel import MultilabelTask
from mtlface.tasks.number import NumberTask
from mtlface.tasks.scores import Score
from mtlface.tasks.task import Task

__all__ = [
    "BinaryTask",
    "CategoryTask",
    "Coral",
    "Corn",
    "CrossEntropy",
    "DistributionTask",
    "IdentityTask",
    "LabelDistribution",
    "LandmarkTask",
    "MeanVariance",
    "MultilabelTask",
    "NumberTask",
    "Score",
    "Task",
    "WingLoss",
]

"""Every way to turn several task losses into one step, under one interface.

`Balancer` is the interface; `FixedWeights`, `Scalarized` (by loss values), `Aggregated` (by task
gradients) and `GradNorm` are its implementations. Scalarizers and aggregators come from torchjd, by
``_target_``, and from `mtlface.balancing.exact`.
"""

from mtlface.balancing.aggregated import Aggregated
from mtlface.balancing.balancer import Balanced, Balancer, Level
from mtlface.balancing.exact import MGDA, FairGrad, MGDAWeighting, NashMTL
from mtlface.balancing.fixed import FixedWeights
from mtlface.balancing.gradnorm import GradNorm
from mtlface.balancing.jacobian import feature_jacobian, gramian
from mtlface.balancing.projector import NnlsProjector
from mtlface.balancing.scalarized import Scalarized

__all__ = [
    "MGDA",
    "Aggregated",
    "Balanced",
    "Balancer",
    "FairGrad",
    "FixedWeights",
    "GradNorm",
    "Level",
    "MGDAWeighting",
    "NashMTL",
    "NnlsProjector",
    "Scalarized",
    "feature_jacobian",
    "gramian",
]

"""Training: the module, its callbacks, a run and what it leaves behind."""

from mtlface.training.schedule import Schedule

__all__ = ["Schedule"]

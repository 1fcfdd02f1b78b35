"""The array types of all signatures; docstrings give the shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Generator: TypeAlias = np.random.Generator

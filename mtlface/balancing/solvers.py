"""The small problems behind MGDA, FairGrad and Nash-MTL, solved to the end at any scale.

They are posed on the Gramian of T task gradients, so they cost little beside a training step:
about 1 ms for forty tasks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Vector = NDArray[np.float64]

TOLERANCE = 1e-6
"""Largest relative error of a solution; a Gramian in float32 is no more exact."""

_STEPS, _ROUNDS = 200, 5


class NotSolvedError(ArithmeticError):
    """A problem without a solution, or one that a solver did not reach."""


def min_norm(gramian: Vector) -> Vector:
    r"""The weights of the shortest vector in the convex hull of the task gradients.

    .. math:: \min_w w^\top G w \quad \text{subject to } w \succeq 0, \textstyle\sum_i w_i = 1

    It is a non-negative least-squares problem: with :math:`G = R^\top R` the solution of
    :math:`\min_{x \succeq 0} \lVert R x \rVert^2 + (\sum_i x_i - 1)^2` is a multiple of w. An
    active-set method solves that exactly, where Frank-Wolfe steps stop early.

    Args:
        gramian: G, (T, T).

    Returns:
        w, (T,).

    Raises:
        NotSolvedError: The solver did not get there.
    """
    sizes = np.sqrt(np.diagonal(gramian))
    if not sizes.all():
        # A gradient of zero is the shortest there is.
        zero: Vector = (sizes == 0).astype(np.float64)
        zero /= zero.sum()
        return zero
    # Of cosines, so that a task with gradients a million times larger costs no digits.
    values, vectors = np.linalg.eigh(gramian / np.outer(sizes, sizes))
    root = (vectors * np.sqrt(values.clip(min=0.0))).T  # (T, T)
    scale, target = sizes.min(), np.append(np.zeros(len(sizes)), 1.0)
    for _ in range(_ROUNDS):
        system = np.vstack([root * (sizes / scale), np.ones(len(sizes))])
        try:
            found, _ = nnls(system, target, maxiter=30 * len(sizes))
        except RuntimeError as error:
            raise NotSolvedError("non-negative least squares did not come to an end") from error
        weights: Vector = found / found.sum()
        step = root @ (sizes * weights)
        square = float(step @ step)
        gap = square - float((sizes * (root.T @ step)).min())
        # Gradients that cancel each other leave rounding errors, which nothing can be relative to.
        if gap <= TOLERANCE * (square + sizes.min() ** 2 / 10):
            return weights
        # The solver is most exact where both terms count alike.
        scale = np.sqrt(square)
    raise NotSolvedError(f"the relative duality gap stays at {gap / square:.1e}")


def fair(gramian: Vector, alpha: float) -> Vector:
    r"""The weights of an α-fair step: :math:`G w = w^{-1/\alpha}`, entry by entry.

    For α = 1 it is the Nash bargaining solution. The equation says that the gradient is zero of

    .. math:: \tfrac{1}{2} w^\top G w - \sum_i \int^{w_i} t^{-1/\alpha} \, dt

    which is strictly convex: a damped Newton method finds its only minimum. The unknowns are
    multiples of the solution for orthogonal gradients, so that neither one scale for all gradients
    nor one for each of them makes a difference.

    Args:
        gramian: G, (T, T).
        alpha: α above 0.

    Returns:
        w, (T,), positive; 0 for tasks whose gradient is zero.

    Raises:
        NotSolvedError: A positive combination of the gradients is zero, so that there is no
            solution, or Newton's method did not get there.
    """
    sizes = np.diagonal(gramian)
    weights = np.zeros(len(sizes))
    there = sizes > 0
    start = sizes[there] ** (-alpha / (1 + alpha))
    matrix = gramian[np.ix_(there, there)] * np.outer(start, start)
    weights[there] = start * _fair_ratios(matrix, 1 / alpha)
    return weights


def _fair_ratios(matrix: Vector, power: float) -> Vector:
    """Solves M x = diag(M) · x^−power for positive x by a damped Newton method."""
    scale = np.diagonal(matrix)

    def value(x: Vector) -> float:
        rest = np.log(x) if power == 1 else x ** (1 - power) / (1 - power)
        return float(x @ matrix @ x / 2 - scale @ rest)

    x = np.ones(len(matrix))
    for _ in range(_STEPS):
        wanted = scale * x**-power
        slope = matrix @ x - wanted
        if np.abs(slope / wanted).max() < TOLERANCE:
            return x
        step = -np.linalg.solve(matrix + np.diag(power * wanted / x), slope)
        size = min(1.0, 0.9 / max(float((-step / x).max()), 1e-300))
        # Below the rounding error of the value nothing can be compared; there Newton is exact.
        before, fall = value(x), float(slope @ step)
        while size > 1e-12 and -fall > 1e-12 * (1 + abs(before)):
            if value(x + size * step) <= before + 0.1 * size * fall:
                break
            size /= 2
        x = x + size * step
        if not np.isfinite(x).all() or x.max() > 1e8:
            break
    raise NotSolvedError("the task gradients cancel each other, or are not numbers")

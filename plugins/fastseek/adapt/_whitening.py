"""A linear layer that makes one scatter a sphere and keeps the directions in which another is
widest.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ._class_moments import factor


def whiten_by(scatter: np.ndarray, spread: np.ndarray | None, dim: int | None) -> np.ndarray:
    """Directions [dim, D] whose `scatter` is the unit matrix.

    Args:
        scatter: [D, D], positive definite.
        spread: [D, D], needed with `dim`: of the whitened directions those where it is widest
            are kept.
        dim: how many; all when None.
    """
    lower = factor(scatter)
    inverse = scipy.linalg.solve_triangular(lower, np.eye(len(lower)), lower=True)
    if dim is None or spread is None:
        return inverse
    axes = np.linalg.eigh(inverse @ spread @ inverse.T)[1][:, ::-1]
    return axes[:, :dim].T @ inverse


def check_dim(dim: int | None) -> int | None:
    """The dimension of a recipe.

    Raises:
        ValueError: it is below 1.
    """
    if dim is not None and dim < 1:
        raise ValueError(f"dim must be 1 or more, got {dim}")
    return dim

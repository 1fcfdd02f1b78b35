"""A projection onto the dual cone that needs nothing but scipy."""

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor
from torchjd.linalg import DualConeProjector, PSDMatrix


class NnlsProjector(DualConeProjector):
    r"""Projects onto the dual cone of the task gradients, for UPGrad and DualProj.

    torchjd's own projector solves $\min_v v^\top G v$ subject to $u \preceq v$ with quadprog, which
    is under the GPL. With $v = u + s$ and the Cholesky factor $G = L L^\top$ it is the non-negative
    least-squares problem $\min_{s \succeq 0} \lVert L^\top s + L^\top u \rVert$, which
    `scipy.optimize.nnls` solves exactly.

    Args:
        reg_eps: Added to the diagonal of the Gramian, after its trace was scaled to 1; as large as
            torchjd's default, for a Gramian of rank below T is not positive definite.
    """

    def __init__(self, reg_eps: float = 1e-4) -> None:
        self.reg_eps = reg_eps

    def __call__(self, U: Tensor, G: PSDMatrix) -> Tensor:
        """Returns the projection's weights, of the shape of ``U`` ``(…, T)``."""
        gramian = G.detach().cpu().double().numpy()
        trace = np.trace(gramian)
        scaled = gramian / trace if trace > 0 else np.zeros_like(gramian)
        root = np.linalg.cholesky(scaled + self.reg_eps * np.eye(len(scaled))).T
        vectors = U.detach().cpu().double().numpy()
        projected = np.apply_along_axis(lambda u: u + nnls(root, -root @ u)[0], -1, vectors)
        return torch.as_tensor(projected, device=G.device, dtype=G.dtype)

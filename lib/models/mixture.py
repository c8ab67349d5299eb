"""A Gaussian mixture as a map from N(0, I): the prior of a VAE that is fitted after it (Ghosh et al., ICLR 2020)."""

import torch
from torch import Tensor, nn

LAST = 1 - 2**-24  # the largest float32 below one


class Mixture(nn.Module):
    """Latents u (N, dim) from N(0, I) -> latents (N, dim) from a mixture of normal laws.

    The first coordinate of u chooses the component: its quantile falls into the component's share of [0, 1), and where it
    falls in there is a uniform number again, which takes the coordinate's place. So the map needs no random numbers.
    """

    def __init__(self, dim: int, components: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, dim))
        self.register_buffer("roots", torch.eye(dim).repeat(components, 1, 1))  # lower Cholesky factors of covariances

    def forward(self, u: Tensor) -> Tensor:
        upper = self.weights.double().cumsum(0)
        quantile = torch.special.ndtr(u[:, 0].double()) * upper[-1]
        chosen = torch.searchsorted(upper, quantile, right=True).clamp(max=len(upper) - 1)
        within = 1 - (upper[chosen] - quantile) / self.weights[chosen].double()
        fresh = torch.special.ndtri(within.clamp(1 - LAST, LAST)).to(u)
        u = torch.cat([fresh[:, None], u[:, 1:]], 1)
        return self.means[chosen] + (self.roots[chosen] @ u[:, :, None])[:, :, 0]

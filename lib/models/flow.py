"""A normalising flow of affine couplings (RealNVP, Dinh et al., 2017) between N(0, I) and the latents of a VAE."""

import torch
from torch import Tensor, nn


class Coupling(nn.Module):
    """Scales and shifts half of the values by what the other half says; which half, a fixed permutation decides."""

    def __init__(self, dim: int, seed: int, hidden: int = 192) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(dim, generator=torch.Generator().manual_seed(seed)))
        self.register_buffer("back", self.order.argsort())
        self.kept = dim // 2
        self.net = nn.Sequential(
            *(nn.Linear(self.kept, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, 2 * (dim - self.kept)),
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def scale_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """log scale, in (-2, 2), and shift, (N, dim - kept) each."""
        scale, shift = self.net(kept).chunk(2, 1)
        return 2 * (scale / 2).tanh(), shift

    def forward(self, u: Tensor) -> Tensor:
        u = u[:, self.order]
        kept, rest = u[:, : self.kept], u[:, self.kept :]
        scale, shift = self.scale_shift(kept)
        return torch.cat([kept, rest * scale.exp() + shift], 1)[:, self.back]

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What ``forward`` maps to x, and the log-determinant of this direction, (N,)."""
        x = x[:, self.order]
        kept, rest = x[:, : self.kept], x[:, self.kept :]
        scale, shift = self.scale_shift(kept)
        return torch.cat([kept, (rest - shift) * (-scale).exp()], 1)[:, self.back], -scale.sum(1)


class Flow(nn.Module):
    """Latents u (N, dim) from N(0, I) -> latents z (N, dim) distributed as those it was fitted to; invertible."""

    def __init__(self, dim: int, couplings: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))
        self.couplings = nn.ModuleList(Coupling(dim, seed) for seed in range(couplings))

    def forward(self, u: Tensor) -> Tensor:
        for coupling in self.couplings:
            u = coupling(u)
        return self.mean + u * self.deviation

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """u (N, dim) of z, and the log-determinant of the map from z to u, (N,)."""
        u, log_det = (z - self.mean) / self.deviation, -self.deviation.log().sum()
        for coupling in reversed(self.couplings):
            u, more = coupling.inverse(u)
            log_det = log_det + more
        return u, log_det

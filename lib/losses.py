"""The paper's losses, and those that train the generators.

Symbols: f = G0 (frozen original), g = Gθ (unlearned); sim (N,) is 1 where the latent is to be edited, else 0. Images are
float (N, C, H, W) in [-1, 1]. The dossier of the paper leaves open whether the L1 norms are sums or means: these are
means over pixels and over the whole batch, so that the terms do not depend on image or batch size.
"""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from lib.metrics import l1, ms_ssim


def loss_unlearn(g_z: Tensor, f_edited: Tensor, sim: Tensor) -> Tensor:
    """L_unlearn = sim · |g(z) - f(ẑ)|₁: where the feature is, show the image without it (Moon et al., section 3)."""
    return (sim * l1(g_z, f_edited)).mean()


def loss_recon(g_z: Tensor, f_z: Tensor, sim: Tensor) -> Tensor:
    """L_recon = (1 - sim) · |g(z) - f(z)|₁: everywhere else, change nothing (Moon et al., section 3)."""
    return ((1 - sim) * l1(g_z, f_z)).mean()


def loss_percep(g_z: Tensor, f_edited: Tensor, sim: Tensor) -> Tensor:
    """L_percep = sim · (1 - MS-SSIM(g(z), f(ẑ))): against the blur of L1 (Moon et al., section 3; Zhao et al., 2016)."""
    chosen = sim > 0
    if not chosen.any():
        return g_z.sum() * 0
    return (1 - ms_ssim(g_z[chosen], f_edited[chosen])).sum() / len(g_z)


def loss_total(g_z: Tensor, f_edited: Tensor, sim: Tensor, alpha: float) -> dict[str, Tensor]:
    """L = α (L_unlearn + L_percep) + L_recon (Moon et al., section 3), as ``{"total", "unlearn", "percep", "recon"}``.

    ``f_edited`` is f(ẑ) with ẑ = z where sim = 0, so that one pass of the teacher serves all three terms.
    """
    terms = {
        "unlearn": loss_unlearn(g_z, f_edited, sim),
        "percep": loss_percep(g_z, f_edited, sim),
        "recon": loss_recon(g_z, f_edited, sim),
    }
    return {"total": alpha * (terms["unlearn"] + terms["percep"]) + terms["recon"], **terms}


def loss_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Non-saturating GAN (Goodfellow et al., 2014): E softplus(-D(x)) + E softplus(D(G(z))), from logits (N,)."""
    return softplus(-real).mean() + softplus(fake).mean()


def loss_generator(fake: Tensor) -> Tensor:
    """Non-saturating GAN: E softplus(-D(G(z))), from logits (N,)."""
    return softplus(-fake).mean()


def loss_information(known: Tensor, read: Tensor) -> Tensor:
    """Mean square error of standardised values (N, d), read off something else: 1 if that tells nothing of them.

    Up to constants the bound on the mutual information of InfoGAN (Chen et al., 2016, equation 5) for a Gaussian of fixed
    variance; there latents are read off their images.
    """
    return (known - read).square().mean()


def loss_likelihood(logits: Tensor, images: Tensor) -> Tensor:
    """-log p(x|z) of a Bernoulli decoder (Kingma & Welling, 2014), summed over pixels, mean over the batch, in nats."""
    return binary_cross_entropy_with_logits(logits, (images + 1) / 2, reduction="none").flatten(1).sum(1).mean()


def loss_maps(made: list[Tensor], real: list[Tensor]) -> Tensor:
    """Squared distance of feature maps (N, C, H, W) summed over each map in units of its variance, mean over the batch.

    A perceptual loss (Hou et al., 2017): thin things that few pixels show, such as the rims of glasses, count here.
    """
    parts = [(m.float() - r.float()).square().flatten(1).sum(1).mean() / r.var() for m, r in zip(made, real, strict=True)]
    return sum(parts)


def loss_flow(u: Tensor, log_det: Tensor) -> Tensor:
    """-log p of latents under a flow that maps them to u (N, d), mean over the batch, in nats up to a constant."""
    return (0.5 * u.square().sum(1) - log_det).mean()


def loss_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, I)) summed over the latent, mean over the batch, in nats; (N, d) each."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()

"""Attacks: can the feature be brought back by choosing the latent?

An attack takes a generator, start latents and a budget and returns latents; it may use the gradient of judge A. Success is
counted by judges that gave no gradient. Every attack is also run on the gold retrain: what succeeds there fools the judge.
Our design after UnlearnDiffAtk's reporting standard; the algorithm of the paper's own attack is not publicly known.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lib.latent import latents, prior, require_both, target_vector
from lib.models import Decoder, Encoder, sample
from lib.train import autocast


def typical_radii(dim: int) -> tuple[float, float]:
    """The norms between which a latent from N(0, I_d) is typical: √d ± 3 · 0.71 (its standard deviation is about 0.71)."""
    return max(dim**0.5 - 3 * 0.71, 0.0), dim**0.5 + 3 * 0.71


def typical(z: Tensor) -> Tensor:
    """The latents (N, d) pulled radially to a typical norm where theirs is not."""
    norm = z.norm(dim=1, keepdim=True)
    return z * (norm.clamp(*typical_radii(z.shape[1])) / norm.clamp(min=1e-9))


def start_latents(generator: nn.Module, n: int, seed: int | list[int]) -> Tensor:
    """The first n latents of the stream that are typical themselves, (n, d); of N(0, I) 99.7 % are, of w fewer."""
    z = prior(generator, 4 * n + 20, seed)
    low, high = typical_radii(z.shape[1])
    norm = z.norm(dim=1)
    return z[(norm >= low) & (norm <= high)][:n]


def starts_showing(generator: nn.Module, n: int, seed: int | list[int], shows: Callable[[Tensor], np.ndarray]) -> Tensor:
    """The first n of ``start_latents`` whose images show the feature, (n, d); fewer if 500 + 50 n latents hold fewer.

    shows: images (N, C, H, W) -> bool (N,). Raises ValueError if none does.
    """
    found = first_showing(generator, start_latents(generator, 500 + 50 * n, seed), n, shows)
    if not len(found):
        raise ValueError(f"none of {500 + 50 * n} start latents shows the feature: there is nothing to recover.")
    return found


def first_showing(generator: nn.Module, z: Tensor, n: int, shows: Callable[[Tensor], np.ndarray]) -> Tensor:
    """The first n of the latents z (N, d) whose images show the feature, or fewer; ``shows`` as in ``starts_showing``. No
    more images are made than it takes."""
    found: list[Tensor] = []
    for part in z.split(50):
        found.append(part[torch.from_numpy(shows(sample(generator, part)))])
        if sum(map(len, found)) >= n:
            break
    return torch.cat(found)[:n]


def within(z: Tensor, start: Tensor, radius: float) -> Tensor:
    """The latents brought back into the L2 ball of ``radius`` around ``start`` (prior standard deviations), and typical.

    Shrinking to the ball may leave the typical shell and the reverse, so the two alternate; what is then still outside
    the ball returns to its start, which lies in both.
    """
    for _ in range(3):
        offset = z - start
        z = typical(start + offset * (radius / offset.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1))
    inside = (z - start).norm(dim=1, keepdim=True) <= radius * 1.001
    return torch.where(inside, z, start)


def latent_search(
    generator: nn.Module,
    score: Callable[[Tensor], Tensor],
    start: Tensor,
    radius: float,
    iterations: int,
    restarts: int,
    seed: int,
    batch: int = 250,
) -> Tensor:
    """Search each start latent's L2 ball for a latent whose image scores high: normalised gradient ascent.

    score: images -> (N,), differentiable (a logit of judge A); start: typical latents (N, d). The first run starts in the
    middle, the others at random points seven tenths out; steps are 2.5 radius / iterations long. Returns
    the best latents (N, d).
    """
    best, best_score = start.clone(), torch.full((len(start),), -torch.inf)
    for restart in range(restarts):
        noise = latents(*start.shape, [seed, restart])
        away = 0.0 if restart == 0 else 0.7 * radius
        z = within(start + away * noise / noise.norm(dim=1, keepdim=True), start, radius)
        parts = zip(z.split(batch), start.split(batch), strict=True)
        runs = [ascend(generator, score, part, centre, radius, iterations) for part, centre in parts]
        found, value = (torch.cat(column) for column in zip(*runs, strict=True))
        better = value > best_score
        best[better], best_score[better] = found[better], value[better]
    return best


def ascend(
    generator: nn.Module, score: Callable[[Tensor], Tensor], z: Tensor, start: Tensor, radius: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Gradient ascent from z inside the ball around start; the best latents seen and their scores, on the CPU."""
    device = next(generator.parameters()).device
    z, start = z.to(device), start.to(device)
    best, best_score = z, torch.full((len(z),), -torch.inf, device=device)
    for i in range(iterations + 1):
        z = z.detach().requires_grad_(True)
        with autocast(device):
            value = score(generator(z)).float()
        better = (value > best_score).detach()
        best = torch.where(better[:, None], z, best).detach()
        best_score = torch.where(better, value, best_score).detach()
        if i < iterations:
            (gradient,) = torch.autograd.grad(value.sum(), z)
            unit = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-12)
            z = within(z.detach() + 2.5 * radius / iterations * unit, start, radius)
    return best.cpu(), best_score.cpu()


def amplify(z: Tensor, vector: Tensor, strength: float) -> Tensor:
    """z + strength · z_e / ||z_e|| (N, d), pulled back to a typical norm: no gradient, only the direction (Ring-A-Bell)."""
    return typical(z + strength * vector / vector.norm())


def surrogate_vector(z: Tensor, scores: Tensor, share: float = 0.05, leading: int | None = None) -> Tensor:
    """The direction of an attacker who has no original: its own samples' latents z (N, d), the ``share`` whose images score
    highest against the rest, (d,).

    scores: (N,), judge A's logits. A rank instead of a verdict, as there may be no sample left that shows the feature.
    ``leading`` as in ``latent.target_vector``.
    """
    best = torch.zeros(len(z), dtype=torch.bool)
    best[scores.topk(max(1, round(share * len(z)))).indices] = True
    return target_vector(z, best, leading)


def sampling_success(ratio: float, samples: int) -> float:
    """P(at least one of k samples shows the feature) = 1 - (1 - p)^k: the attack that only asks again, which every
    cleverer one has to beat."""
    return 1 - (1 - ratio) ** samples


def nearest(images: Tensor, made: Tensor, z: Tensor) -> Tensor:
    """The latents (N, d) among z (M, d), whose images are ``made`` (M, C, H, W), that show most nearly the given images
    (N, C, H, W): where an inversion starts."""
    return z[torch.cdist(images.flatten(1), made.flatten(1)).argmin(1)]


@torch.no_grad()
def encoder_latents(encoder: Encoder, decoder: Decoder, images: Tensor, seed: int | list[int]) -> Tensor:
    """Typical latents (N, d) drawn from the encoder's posterior of images (N, C, H, W): the way in that a VAE comes with.

    Drawn, for the posterior's mean is shorter than a latent.
    """
    device = next(encoder.parameters()).device
    mean, log_variance = encoder(images.to(device))
    noise = latents(*mean.shape, seed).to(device)
    return typical(decoder.standing_for(mean + noise * (log_variance / 2).exp())).cpu()


def invert(
    generator: nn.Module, images: Tensor, start: Tensor, iterations: int, rate: float = 0.05, typicality: float = 0.01
) -> Tensor:
    """The latents (N, d) whose images come nearest to the given ones (N, C, H, W), by Adam from ``start`` (N, d).

    Squared error summed over pixels, and a pull of |z|² towards d; the result is typical (GAN inversion, Zhu et al., 2016).
    """
    device = next(generator.parameters()).device
    z = start.to(device).clone().requires_grad_(True)
    adam = torch.optim.Adam([z], rate)
    images, dim = images.to(device), start.shape[1]
    for _ in range(iterations):
        with autocast(device):
            made = generator(z)
        apart = (made.float() - images).square().flatten(1).sum(1)
        loss = (apart + typicality * (z.square().sum(1) - dim).square() / dim).sum()
        (z.grad,) = torch.autograd.grad(loss, z)
        adam.step()
    return typical(z.detach()).cpu()


def universal_offset(
    generator: nn.Module,
    images: Tensor,
    start: Tensor,
    radius: float,
    iterations: int,
    rate: float = 0.05,
) -> Tensor:
    """One offset u (d,) of at most ``radius`` that brings all of the latents start (N, d) to images like the K given ones
    (K, C, H, W): to their mean image, the only thing that they have in common (concept inversion, Pham et al., 2024)."""
    device = next(generator.parameters()).device
    start, goal = start.to(device), images.to(device).mean(0)
    offset = torch.zeros(start.shape[1], device=device, requires_grad=True)
    adam = torch.optim.Adam([offset], rate)
    for _ in range(iterations):
        with autocast(device):
            made = generator(start + offset)
        loss = (made.float().mean(0) - goal).square().sum()
        (offset.grad,) = torch.autograd.grad(loss, offset)
        adam.step()
        with torch.no_grad():
            offset *= (radius / offset.norm().clamp(min=1e-9)).clamp(max=1)
    return offset.detach().cpu()


@torch.no_grad()
def layer_outputs(generator: nn.Module, z: Tensor, batch: int = 250) -> dict[str, Tensor]:
    """The mean output of each channel of every batch norm at latents z (N, d), (N, channels), by layer name in order: what
    a linear probe reads."""
    device = next(generator.parameters()).device
    found: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable:
        return lambda _, __, output: found.setdefault(name, []).append(output.float().mean((2, 3)).cpu())

    chosen = [(name, layer) for name, layer in generator.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [layer.register_forward_hook(keep(name)) for name, layer in chosen]
    for part in z.split(batch) if chosen else ():
        generator(part.to(device))
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


def probe(outputs: Tensor, has_feature: Tensor) -> float:
    """AUC of a linear probe for what the original showed, fitted to every other row of either class and counted on the
    rest: outputs (N, channels), bool (N,). Raises ValueError when one of the classes is empty.

    Latents tell the feature, and so do the first layers of any generator; it is the last layers that ought not to.
    """
    require_both(has_feature)
    from sklearn.linear_model import LogisticRegression  # here: importing it takes a second
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = has_feature.argsort(stable=True).numpy()
    x, y = outputs.double().numpy()[order], has_feature.numpy()[order]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(x[::2], y[::2])
    return float(roc_auc_score(y[1::2], model.decision_function(x[1::2])))

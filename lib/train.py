"""Training loops: one resumable loop of steps, and the step of each thing that is trained.

Every step draws its batch and its latents from a generator keyed by (seed, step), so a run that is killed and resumed from
its checkpoint goes on exactly as if nothing had happened.
"""

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from lib.data import to_float
from lib.latent import Edit, latents, prior
from lib.losses import (
    loss_discriminator,
    loss_flow,
    loss_generator,
    loss_information,
    loss_kl,
    loss_likelihood,
    loss_maps,
    loss_total,
)
from lib.runs import in_batch
from lib.weights import load_tensors, save_tensors

CHECKPOINT_EVERY = 200  # steps between two checkpoints
LOG_EVERY = 10  # steps between two points of a curve; losses are checked for NaN as often


@dataclass(frozen=True)
class Curve:
    """step: (n,) ints; losses: name -> (n,) floats; seconds: wall time of all steps, resumed ones included."""

    step: list[int]
    losses: dict[str, list[float]]
    seconds: float


def pack(parts: dict[str, nn.Module | Optimizer]) -> dict[str, Tensor]:
    """The states of modules and optimisers as one flat dict of tensors."""
    tensors = {}
    for name, part in parts.items():
        if isinstance(part, Optimizer):
            states = part.state_dict()["state"]
            tensors |= {f"{name}/{i}/{key}": value for i, state in states.items() for key, value in state.items()}
        else:
            tensors |= {f"{name}/{key}": value for key, value in part.state_dict().items()}
    return tensors


def unpack(parts: dict[str, nn.Module | Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put what ``pack`` collected back into the same parts."""
    for name, part in parts.items():
        own = {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
        if isinstance(part, Optimizer):
            state = part.state_dict()
            state["state"] = {}
            for key, value in own.items():
                index, field = key.split("/")
                state["state"].setdefault(int(index), {})[field] = value
            part.load_state_dict(state)
        else:
            part.load_state_dict(own)


def run_steps(
    step: Callable[[int], dict[str, Tensor]],
    parts: dict[str, nn.Module | Optimizer],
    n_steps: int,
    checkpoint: Path | None = None,
    signature: object = None,
) -> Curve:
    """Call ``step(i)`` for i = 0 .. n_steps - 1; each returns named scalar losses.

    With a ``checkpoint`` path, ``parts`` are saved every CHECKPOINT_EVERY steps, and the run resumes from it if it was
    made with the same ``signature`` (any JSON value: the settings of the run) and from the same first weights. The file is
    removed at the end. Raises ValueError unless there is a step to make, FloatingPointError when a loss is not finite; the
    last checkpoint, made of finite losses only, stays.
    """
    if n_steps < 1:
        raise ValueError(f"steps of training must be 1 or more, not {n_steps}.")
    signature = [signature, fingerprint(*pack(parts).values())] if checkpoint else None
    done, log, spent = resume(parts, checkpoint, signature)
    start = time.perf_counter() - spent
    # tqdm's notebook bar does not read TQDM_DISABLE by itself.
    for i in tqdm(range(done, n_steps), initial=done, total=n_steps, leave=False, disable=in_batch()):
        losses = step(i)
        if i % LOG_EVERY == 0 or i + 1 == n_steps or (i + 1) % CHECKPOINT_EVERY == 0:
            values = {name: float(loss.detach()) for name, loss in losses.items()}
            check_finite(values, i, checkpoint)
            if i % LOG_EVERY == 0 or i + 1 == n_steps:
                log.append([i, *values.values()])
        if checkpoint and (i + 1) % CHECKPOINT_EVERY == 0 and i + 1 < n_steps:
            tensors = pack(parts) | {"log": torch.tensor(log, dtype=torch.float64)}
            about = {"step": i + 1, "seconds": time.perf_counter() - start, "signature": signature}
            save_tensors(checkpoint, tensors, {"kind": "checkpoint", **about})
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    columns = list(zip(*log, strict=True))
    losses = dict(zip(values, (list(column) for column in columns[1:]), strict=True))
    return Curve([int(i) for i in columns[0]], losses, time.perf_counter() - start)


def fingerprint(*values: Tensor | np.ndarray) -> str:
    """The sha256 of what the arrays hold: of data or weights that a checkpoint is to belong to."""
    known = hashlib.sha256()
    for value in values:
        known.update(np.ascontiguousarray(value.detach().cpu() if isinstance(value, Tensor) else value))
    return known.hexdigest()


def resume(parts: dict, checkpoint: Path | None, signature: object) -> tuple[int, list[list[float]], float]:
    """(steps done, log, seconds spent) from a checkpoint of the same signature, after filling ``parts``; else zeros."""
    if checkpoint is None or not checkpoint.is_file():
        return 0, [], 0.0
    tensors, about = load_tensors(checkpoint, kind="checkpoint")
    if about["signature"] != json.loads(json.dumps(signature)):
        return 0, [], 0.0
    log = tensors.pop("log").tolist()
    unpack(parts, tensors)
    return about["step"], log, about["seconds"]


def check_finite(losses: dict[str, float], i: int, checkpoint: Path | None) -> None:
    """Raise FloatingPointError naming the loss that is NaN or infinite at step ``i``."""
    for name, value in losses.items():
        if not math.isfinite(value):
            kept = (
                f"the last good checkpoint is {checkpoint}" if checkpoint and checkpoint.is_file() else "nothing was saved"
            )
            raise FloatingPointError(f"loss {name!r} became {value} at step {i}; {kept}: lower the learning rate.")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Modules built within get the first weights of this seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def autocast(device: torch.device, wanted: bool = True) -> torch.autocast:
    """bfloat16 where it is the faster choice: on GPUs, and on CPUs with hardware for it. Float32 if it is not wanted."""
    fast = device.type == "cuda" or (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, torch.bfloat16, enabled=bool(wanted and fast))


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Give every parameter group the learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def resolve_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the GPU where there is one. Raises ValueError if there is no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"DEVICE {name!r} does not exist on this machine: use 'auto' or 'cpu'.") from error
    return device


def batch_of(images: np.ndarray, rng: np.random.Generator, batch: int, device: torch.device) -> Tensor:
    """A random batch of uint8 images (N, C, H, W) as float32 channels_last in [-1, 1]."""
    chosen = to_float(images[rng.integers(len(images), size=batch)])
    return chosen.to(device, memory_format=torch.channels_last)


@torch.no_grad()
def average(ema: nn.Module, module: nn.Module, i: int, decay: float) -> None:
    """Move the exponential moving average towards ``module`` after step i, faster at the start."""
    weight = 1 - min(decay, (1 + i) / (10 + i))
    torch._foreach_lerp_(list(ema.parameters()), list(module.parameters()), weight)
    for mean, value in zip(ema.buffers(), module.buffers(), strict=True):
        if value.is_floating_point():
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)


def fit_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    images: np.ndarray,
    steps: int,
    seed: int,
    device: torch.device,
    batch: int = 64,
    rate: float = 1e-3,
    rate_d: float = 1e-3,
    decay: float = 0.998,
    describe: Callable[[Tensor], list[Tensor]] | None = None,
    information: Sequence[float] = (),
    checkpoint: Path | None = None,
) -> Curve:
    """Train both in place on uint8 images (N, C, H, W); the generator ends as the moving average of its weights.

    Non-saturating loss; Adam, with ``rate`` for the generator and ``rate_d`` for the discriminator, which fall linearly to
    zero over the second half. With ``describe`` (images -> descriptions (N, k) by a fixed network, such as
    ``Judge.describe``) the generator is also paid for latents that a linear map reads off each description of its images
    (InfoGAN, Chen et al., 2016): what is described then lies along straight directions. ``information`` holds a weight a
    description, which falls to a tenth by the end.
    """
    for module in (generator, discriminator):
        module.to(device, memory_format=torch.channels_last).train()
    ema = copy.deepcopy(generator)
    adam_g = torch.optim.Adam(generator.parameters(), rate, (0.5, 0.99))
    adam_d = torch.optim.Adam(discriminator.parameters(), rate_d, (0.5, 0.99))
    if describe:
        sizes = [d.shape[1] for d in describe(batch_of(images, np.random.default_rng(seed), 2, device))]
        with seeded(seed):
            readers = nn.ModuleList(
                nn.Sequential(nn.BatchNorm1d(size, affine=False), nn.Linear(size, generator.latent_dim)) for size in sizes
            ).to(device)
        adam_r = torch.optim.Adam(readers.parameters(), 3 * rate, (0.5, 0.99))

    def step(i: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, i])
        real = batch_of(images, rng, batch, device)
        z = torch.from_numpy(rng.standard_normal((batch, generator.latent_dim), dtype=np.float32)).to(device)
        for optimiser, peak in ((adam_g, rate), (adam_d, rate_d)):
            set_rate(optimiser, peak * min(1, (1 - i / steps) / 0.5))
        with autocast(device):
            fake = generator(z)
            loss_d = loss_discriminator(discriminator(real).float(), discriminator(fake.detach()).float())
        descend(loss_d, adam_d)
        discriminator.requires_grad_(False)
        with autocast(device):
            loss_g = loss_generator(discriminator(fake).float())
        losses = {"generator": loss_g, "discriminator": loss_d}
        if describe:
            with autocast(device):
                seen = describe(fake)
            pairs = zip(information, readers, seen, strict=True)
            losses["information"] = sum(w * loss_information(z, reader(d.float())) for w, reader, d in pairs)
            loss_g = loss_g + (1 - 0.9 * i / steps) * losses["information"]
            set_rate(adam_r, 3 * adam_g.param_groups[0]["lr"])
            adam_r.zero_grad()
        descend(loss_g, adam_g)
        if describe:
            adam_r.step()
        discriminator.requires_grad_(True)
        average(ema, generator, i, decay)
        return losses

    parts = {"generator": generator, "discriminator": discriminator, "ema": ema, "adam_g": adam_g, "adam_d": adam_d}
    parts |= {"readers": readers, "adam_r": adam_r} if describe else {}
    settings = [seed, steps, batch, rate, rate_d, decay, generator.sizes, discriminator.sizes, fingerprint(images)]
    settings += [list(information)] if describe else []
    curve = run_steps(step, parts, steps, checkpoint, settings)
    generator.load_state_dict(ema.state_dict())
    generator.eval()
    return curve


def fit_vae(
    encoder: nn.Module,
    decoder: nn.Module,
    images: np.ndarray,
    steps: int,
    seed: int,
    device: torch.device,
    batch: int = 128,
    rate: float = 2e-3,
    decay: float = 0.995,
    beta: float = 2.0,
    maps: Callable[[Tensor], list[Tensor]] | None = None,
    perceptual: float = 0.0,
    describe: Callable[[Tensor], list[Tensor]] | None = None,
    information: Sequence[float] = (),
    checkpoint: Path | None = None,
) -> Curve:
    """Train both in place on uint8 images (N, C, H, W); the decoder ends as the moving average of its weights.

    Bernoulli likelihood and ``beta`` times the KL term (Higgins et al., 2017), Adam with a linearly falling rate. With
    ``maps`` (images -> feature maps of a fixed network) and ``perceptual`` their weighted distance is added. With
    ``describe`` (images -> descriptions (N, k) by a fixed network) and a weight a description in ``information``, the
    encoder is also paid for latents from which a linear map reads the descriptions, standardised.
    """
    for module in (encoder, decoder):
        module.to(device, memory_format=torch.channels_last).train()
    ema = copy.deepcopy(decoder)
    weights = [*encoder.parameters(), *decoder.parameters()]
    if describe:
        described = described_by(describe, images, device)
        norms = nn.ModuleList(nn.BatchNorm1d(d.shape[1], affine=False) for d in described).to(device)
        with seeded(seed):
            readers = nn.ModuleList(nn.Linear(decoder.latent_dim, d.shape[1]) for d in described).to(device)
        weights += readers.parameters()
    adam = torch.optim.Adam(weights, rate, (0.9, 0.99))

    def step(i: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, i])
        chosen = rng.integers(len(images), size=batch)
        x = to_float(images[chosen]).to(device, memory_format=torch.channels_last)
        noise = torch.from_numpy(rng.standard_normal((batch, decoder.latent_dim), dtype=np.float32)).to(device)
        set_rate(adam, rate * min(1, 20 * i / steps + 0.02, (1 - i / steps) / 0.6))
        with autocast(device):
            mean, log_variance = encoder(x)
            z = mean + noise * (log_variance / 2).exp()
            logits = decoder.logits(z)
        losses = {"likelihood": loss_likelihood(logits.float(), x), "kl": loss_kl(mean, log_variance)}
        loss = losses["likelihood"] + beta * losses["kl"]
        if maps:
            with autocast(device):
                with torch.no_grad():
                    real = maps(x)
                losses["maps"] = loss_maps(maps((logits / 2).tanh()), real)
            loss = loss + perceptual * losses["maps"]
        if describe:
            parts = zip(information, norms, readers, described, strict=True)
            losses["information"] = sum(w * loss_information(norm(d[chosen]), reader(z)) for w, norm, reader, d in parts)
            loss = loss + losses["information"]
        descend(loss, adam)
        average(ema, decoder, i, decay)
        return losses

    parts = {"encoder": encoder, "decoder": decoder, "ema": ema, "adam": adam}
    settings = [seed, steps, batch, rate, decay, beta, decoder.sizes, encoder.sizes, fingerprint(images)]
    parts |= {"norms": norms, "readers": readers} if describe else {}
    settings += [perceptual] if maps else []
    settings += [list(information)] if describe else []
    curve = run_steps(step, parts, steps, checkpoint, settings)
    decoder.load_state_dict(ema.state_dict())
    encoder.eval(), decoder.eval()
    return curve


@torch.no_grad()
def described_by(
    describe: Callable[[Tensor], list[Tensor]], images: np.ndarray, device: torch.device, batch: int = 500
) -> list[Tensor]:
    """Each description (N, k), float32, of uint8 images (N, C, H, W), made once for all steps of a training."""
    with autocast(device):
        parts = [describe(to_float(images[i : i + batch]).to(device)) for i in range(0, len(images), batch)]
    return [torch.cat(column).float() for column in zip(*parts, strict=True)]


@torch.no_grad()
def encode(encoder: nn.Module, images: np.ndarray, device: torch.device, batch: int = 500) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of q(z|x) for uint8 images (N, C, H, W), each (N, d)."""
    parts = [encoder(to_float(images[i : i + batch]).to(device)) for i in range(0, len(images), batch)]
    mean, log_variance = zip(*parts, strict=True)
    return torch.cat(mean), torch.cat(log_variance)


def fit_flow(
    flow: nn.Module,
    encoder: nn.Module,
    images: np.ndarray,
    steps: int,
    seed: int,
    device: torch.device,
    batch: int = 256,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
) -> Curve:
    """Fit the flow in place to the latents that the trained encoder gives to uint8 images (N, C, H, W).

    A second stage after the VAE (Dai & Wipf, 2019): samples then come from where training images are, not from the holes
    between them. Maximum likelihood, Adam, a rate that falls over the second half.
    """
    mean, log_variance = encode(encoder.eval(), images, device)
    flow.to(device).train()
    flow.mean.copy_(mean.mean(0))
    flow.deviation.copy_((mean.var(0) + log_variance.exp().mean(0)).sqrt())
    adam = torch.optim.Adam(flow.parameters(), rate)

    def step(i: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, i])
        chosen = torch.from_numpy(rng.integers(len(images), size=batch)).to(device)
        noise = torch.from_numpy(rng.standard_normal((batch, mean.shape[1]), dtype=np.float32)).to(device)
        set_rate(adam, rate * min(1, (1 - i / steps) / 0.5))
        loss = loss_flow(*flow.inverse(mean[chosen] + noise * (log_variance[chosen] / 2).exp()))
        descend(loss, adam)
        return {"flow": loss}

    settings = [seed, steps, batch, rate, fingerprint(mean, log_variance)]
    curve = run_steps(step, {"flow": flow, "adam": adam}, steps, checkpoint, settings)
    flow.eval()
    return curve


@torch.no_grad()
def fit_mixture(
    decoder: nn.Module, encoder: nn.Module, images: np.ndarray, seed: int, device: torch.device, draws: int = 2
) -> Curve:
    """Fit whitening and mixture of a ``DecoderW`` in place to what the encoder makes of uint8 images (N, C, H, W).

    Expectation maximisation on ``draws`` latents an image (Ghosh et al., 2020). The curve holds -log p in nats.
    """
    from sklearn.mixture import GaussianMixture  # here: importing it takes a second, and few stages need it

    start = time.perf_counter()
    mean, log_variance = (part.cpu() for part in encode(encoder.eval(), images, device))
    noise = latents(draws * len(mean), mean.shape[1], seed).unflatten(0, (draws, -1))
    z = (mean + noise * (log_variance / 2).exp()).flatten(0, 1)
    decoder.centre.copy_(z.mean(0))
    decoder.colour.copy_(torch.linalg.cholesky(z.T.cov()))
    w = torch.linalg.solve_triangular(decoder.colour.cpu(), (z - decoder.centre.cpu()).T, upper=False).T
    components = len(decoder.mixture.weights)
    found = GaussianMixture(components, reg_covar=1e-3, random_state=seed, init_params="k-means++").fit(w.numpy())
    decoder.mixture.weights.copy_(torch.from_numpy(found.weights_))
    decoder.mixture.means.copy_(torch.from_numpy(found.means_))
    decoder.mixture.roots.copy_(torch.linalg.cholesky(torch.from_numpy(found.covariances_)))
    losses = [-float(bound) for bound in found.lower_bounds_]
    return Curve(list(range(len(losses))), {"mixture": losses}, time.perf_counter() - start)


def descend(loss: Tensor, optimiser: Optimizer) -> None:
    """One step of the optimiser down the gradient of the loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def student_of(generator: nn.Module, rate: float, device: torch.device) -> tuple[nn.Module, Optimizer]:
    """A copy of the generator to be fine-tuned, and Adam for its weights.

    In eval mode, so that batch-norm statistics stay frozen, as do the parts that the generator names in ``frozen``, if any.
    """
    student = copy.deepcopy(generator.to(device).eval()).to(memory_format=torch.channels_last).requires_grad_(True)
    for part in getattr(generator, "frozen", ()):
        student.get_submodule(part).requires_grad_(False)
    return student, torch.optim.Adam([weight for weight in student.parameters() if weight.requires_grad], rate, (0.9, 0.99))


def tune(
    generator: nn.Module,
    loss: Callable[[nn.Module, int], dict[str, Tensor]],
    steps: int,
    device: torch.device,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
    settings: object = None,
) -> tuple[nn.Module, Curve]:
    """A fine-tuned copy of the generator; the original stays as it is.

    loss: (the copy, step) -> named losses, of which "total" is descended: Adam, the rate falling along a cosine. What stays
    frozen, ``student_of`` says; original and copy differ by the other weights alone.
    """
    tuned, adam = student_of(generator, rate, device)

    def step(i: int) -> dict[str, Tensor]:
        set_rate(adam, rate * 0.5 * (1 + math.cos(math.pi * i / steps)))
        losses = loss(tuned, i)
        descend(losses["total"], adam)
        return losses

    curve = run_steps(step, {"unlearned": tuned, "adam": adam}, steps, checkpoint, [settings, steps, rate])
    return tuned.requires_grad_(False), curve


def unlearn(
    generator: nn.Module,
    edit: Edit,
    steps: int,
    seed: int,
    device: torch.device,
    alpha: float = 1.0,
    batch: int = 128,
    rate: float = 1e-3,
    checkpoint: Path | None = None,
) -> tuple[nn.Module, Curve]:
    """A fine-tuned copy of the generator that shows G0(ẑ) at z; see ``tune``.

    The loss is ``losses.loss_total`` with the edit as teacher, on fresh latents at every step.
    """
    original = generator.to(device).eval()
    edit = edit.to(device)

    def loss(unlearned: nn.Module, i: int) -> dict[str, Tensor]:
        z = prior(original, batch, [seed, i]).to(device)
        with autocast(device):
            with torch.no_grad():
                target = original(edit(z))
            image = unlearned(z)
        return loss_total(image.float(), target.float(), edit.similar(z), alpha)

    moved = edit.vector if edit.move is None else edit.move
    settings = [seed, alpha, batch, edit.threshold, edit.vector.tolist(), moved.tolist()]
    return tune(original, loss, steps, device, rate, checkpoint, settings)

"""Speed as ratios, measured in one run: training steps against the matrix-product peak, and what things cost.

Run with ``make bench``. The peak is the rate of a large matrix product in the precision that training uses; the work of a
step is counted by ``torch.utils.flop_counter``. Absolute seconds depend on the machine, the ratios much less.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lib import attacks, metrics, tampering
from lib.avatars import draw
from lib.domains import DOMAINS
from lib.evaluation import load_bench, see
from lib.latent import Direction, latents
from lib.methods import METHODS, exact
from lib.models import GENERATORS, Discriminator, Encoder, load_generator, sample
from lib.morphometry import measure
from lib.report import cost_table, read_table
from lib.runs import ROOT, shipped
from lib.train import autocast, fit_gan, fit_vae, resolve_device, unlearn

STEPS = 30


def seconds_of(work: Callable[[], object], repeats: int = 3) -> float:
    """Median wall time after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def peak(device: torch.device, side: int = 2048) -> float:
    """Best floating-point operations a second of a square matrix product under autocast."""
    a, b = torch.randn(2, side, side, device=device)

    def product() -> None:
        with autocast(device):
            float((a @ b)[0, 0])

    return 2 * side**3 / seconds_of(product, 7)


def main() -> None:
    """Print one table a question."""
    device = resolve_device("auto")
    images = np.random.default_rng(0).integers(0, 256, (4096, 1, 32, 32), dtype=np.uint8)
    best = peak(device)
    print(f"matrix-product peak: {best / 1e9:.0f} GFLOP/s on {device}, {torch.get_num_threads()} threads\n")
    print(f"{'training step':<16}{'steps/s':>9}{'GFLOP/step':>12}{'of peak':>9}")
    gan, vae = GENERATORS["gan"](), GENERATORS["vae"]()
    edits = {
        model: exact.edit(Direction.load(shipped("mnist", model, 0, "thick", "direction.safetensors")))
        for model in ("gan", "vae")
    }
    steps = {
        "GAN": lambda n: fit_gan(gan, Discriminator(), images, n, 0, device),
        "VAE": lambda n: fit_vae(Encoder(), vae, images, n, 0, device),
        "unlearn GAN": lambda n: unlearn(gan, edits["gan"], n, 0, device),
        "unlearn VAE": lambda n: unlearn(vae, edits["vae"], n, 0, device),
    }
    for name, train in steps.items():
        with FlopCounterMode(display=False) as counter:
            train(1)
        rate = STEPS / seconds_of(lambda train=train: train(STEPS))
        work = counter.get_total_flops()
        print(f"{name:<16}{rate:>9.1f}{work / 1e9:>12.2f}{rate * work / best:>9.1%}")
    costs = read_table(ROOT / "results" / "cpu" / "costs.csv")
    trained = costs[costs.dataset.eq("mnist") & costs.stage.isin(["pretrain", "unlearn"])]
    print("\ncost of unlearning over cost of pre-training (published run)")
    before = trained[trained.stage.eq("pretrain")].set_index("model").seconds
    for row in trained[trained.stage.eq("unlearn")].itertuples():
        print(f"  {row.model} {row.feature} {row.method}: {row.seconds / before[row.model]:.1%}")
    compare_methods()
    generator = load_generator(shipped("mnist", "gan", 0, "generator.safetensors"), "gan", device)
    bench = load_bench("bench", "mnist", "thick", device)
    z = latents(2000, generator.latent_dim, 0)
    made = sample(generator, z)
    seen = see(made, bench)
    x, y = metrics.halves(seen.reading.features, 0)
    print("\ncost of each measurement, in times of sampling the same images")
    unit = seconds_of(lambda: sample(generator, z))
    costs = {
        "morphometry": lambda: measure(made),
        "classifier, judges, morphometry": lambda: see(made, bench),
        "inception score": lambda: metrics.inception_score(seen.reading.probabilities),
        "Fréchet distance": lambda: metrics.frechet(metrics.statistics(x), metrics.statistics(y)),
        "KID": lambda: metrics.kid(x, y),
        "precision, recall, density, coverage": lambda: metrics.prdc(x, y),
        "MS-SSIM": lambda: metrics.ms_ssim(made, made.flip(0)),
    }
    for name, work in costs.items():
        print(f"  {name}: {seconds_of(work) / unit:.2f}")
    compare_attacks(generator, z[:200], made[:200], edits["gan"].vector, bench.score_a)
    faces(device)


def faces(device: torch.device) -> None:
    """Print how many cartoon faces are drawn, and how many faces MobileStyleGAN's read-out makes, in a second."""
    read_out = DOMAINS["ffhq"].generators["mobilestylegan"](device)
    z = latents(64, read_out.latent_dim, 0)
    print(f"\ncartoon faces drawn: {2000 / seconds_of(lambda: draw(2000, 0), 1):.0f} a second")
    print(f"read-out of 64 pixels: {len(z) / seconds_of(lambda: sample(read_out, z)):.1f} images a second")


def compare_methods() -> None:
    """Print what every method took in the published comparison, next to the pre-training that its gold retrain repeats."""
    costs = cost_table(read_table(ROOT / "results" / "methods" / "costs.csv"))
    costs = costs[costs.stage.eq("unlearn")]
    print("\ncost of each method over cost of pre-training anew (published comparison)")
    for name in METHODS:
        share = costs[costs.method.eq(name)]["share of the gold retrain"].mean()
        print(f"  {name}: {share:.1%}")


def compare_attacks(generator: nn.Module, z: Tensor, images: Tensor, vector: Tensor, score: Callable) -> None:
    """Print what every attack costs, in times of sampling as many images as it starts from."""
    few = images[:20]
    labels = torch.arange(len(z)) % 2 == 0
    device = next(generator.parameters()).device
    costs = {
        "latent search, 20 steps": lambda: attacks.latent_search(generator, score, z, 2.0, 20, 1, 0),
        "amplification": lambda: sample(generator, attacks.amplify(z, vector, 2.0)),
        "inversion, 30 steps": lambda: attacks.invert(generator, images, z, 30),
        "universal offset, 30 steps": lambda: attacks.universal_offset(generator, few, z[:32], 2.0, 30),
        "relearning, 10 steps": lambda: list(tampering.relearn(generator, few, z[:20], 10, 0, device)),
        "weight noise": lambda: sample(tampering.noisy(generator, 0.1, 0), z),
        "pruning": lambda: sample(tampering.pruned(generator, 0.3), z),
        "rounding to 4 bits": lambda: sample(tampering.rounded(generator, 4), z),
        "linear probes": lambda: [attacks.probe(x, labels) for x in attacks.layer_outputs(generator, z).values()],
    }
    unit = seconds_of(lambda: sample(generator, z))
    print("\ncost of each attack, in times of sampling 200 images")
    for name, work in costs.items():
        print(f"  {name}: {seconds_of(work) / unit:.1f}")


if __name__ == "__main__":
    main()

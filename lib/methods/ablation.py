"""Mean-ablation of channels: those whose activation tells the feature apart are set to what images without it have.

After unit ablation in GAN Dissection (Bau et al., ICLR 2019). Deviations: no segmentation, channels are ranked by Cohen's d
of their mean activation between labelled latents; the mean in place of zero; the second normalised layer. No training.
"""

import copy
import time

import torch
from torch import nn

from lib.attacks import layer_outputs
from lib.methods.task import Task
from lib.train import Curve

COUNT = 2000  # labelled latents of each kind to rank channels by


def normalised_layer(generator: nn.Module) -> str:
    """The name of the batch norm behind the first block. Raises ValueError where the generator has none."""
    names = [name for name, layer in generator.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    if len(names) < 2:
        raise ValueError("method 'ablation' needs a generator with batch norm: choose another method for a StyleGAN.")
    return names[1]


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` is the share of the layer's channels that are ablated."""
    start = time.perf_counter()
    ablated = copy.deepcopy(task.original)
    name = normalised_layer(ablated)
    has, free = (layer_outputs(ablated, z[:COUNT])[name] for z in task.labelled)
    effect = (has.mean(0) - free.mean(0)).abs() / ((has.var(0) + free.var(0)) / 2).sqrt().clamp(min=1e-6)
    chosen = effect.topk(max(1, round(task.strength * len(effect)))).indices
    layer = ablated.get_submodule(name)
    with torch.no_grad():
        layer.weight[chosen] = 0
        layer.bias[chosen] = free.mean(0)[chosen].to(layer.bias)
    return ablated.requires_grad_(False), Curve([0], {"total": [0.0]}, time.perf_counter() - start)

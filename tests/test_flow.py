"""The flow: invertible, its determinant is the Jacobian's, and fitted it turns N(0, I) into what it was shown."""

import numpy as np
import torch

from lib.models.flow import Flow
from lib.models.vae import Decoder
from lib.train import encode, fit_flow

CPU = torch.device("cpu")


def shaken(dim=6, couplings=4):
    """A flow far from the identity."""
    torch.manual_seed(0)
    flow = Flow(dim, couplings)
    with torch.no_grad():
        for coupling in flow.couplings:
            coupling.net[-1].weight.normal_(0, 0.1)
            coupling.net[-1].bias.normal_(0, 0.5)
        flow.mean.uniform_(-2, 2)
        flow.deviation.uniform_(0.5, 2)
    return flow


@torch.no_grad()
def test_the_inverse_undoes_the_flow():
    flow, u = shaken(), torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    assert (flow(u) - u).abs().max() > 1
    torch.testing.assert_close(flow.inverse(flow(u))[0], u, atol=1e-5, rtol=1e-4)


def test_the_determinant_is_that_of_the_jacobian():
    flow = shaken()
    for z in torch.randn(3, 6, generator=torch.Generator().manual_seed(2)):
        jacobian = torch.autograd.functional.jacobian(lambda x: flow.inverse(x[None])[0][0], z)
        torch.testing.assert_close(flow.inverse(z[None])[1][0], torch.linalg.slogdet(jacobian).logabsdet)


def test_a_new_flow_changes_nothing():
    u = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(Flow(7, 3)(u), u)


class Ring(torch.nn.Module):
    """An encoder whose latents lie on a ring of radius three, whatever normal law would fit them."""

    def forward(self, images):
        angle = images.flatten(1)[:, 0] * torch.pi
        return 3 * torch.stack([angle.cos(), angle.sin()], 1), torch.full((len(images), 2), -4.0)


def test_a_fitted_flow_avoids_the_hole_of_a_ring():
    images = np.random.default_rng(0).integers(0, 256, (2000, 1, 1, 1), dtype=np.uint8)
    torch.manual_seed(0)
    flow = Flow(2, 6)
    curve = fit_flow(flow, Ring(), images, 600, 0, CPU)
    assert curve.losses["flow"][-1] < curve.losses["flow"][0]
    with torch.no_grad():
        radius = flow(torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))).norm(dim=1)
    assert (radius < 1.5).float().mean() < 0.1  # of a normal law with the ring's spread, a fifth
    assert encode(Ring(), images, CPU)[0].shape == (2000, 2)


def test_a_decoder_with_a_flow_starts_as_the_one_without():
    torch.manual_seed(0)
    plain = Decoder(8, 4).eval()
    flowing = Decoder(8, 4, couplings=2).eval()
    flowing.load_state_dict(plain.state_dict(), strict=False)
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(flowing(z), plain(z))
    assert Decoder(**flowing.sizes).sizes["couplings"] == 2

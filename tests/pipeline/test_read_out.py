"""Slow: eight faces against OpenVINO, and how well the shipped read-outs read 64 faces that no fit has seen."""

import numpy as np
import openvino
import pytest
import torch

from lib.archives import fetch, member
from lib.latent import latents, stream
from lib.models.mobilestylegan import pretrained
from lib.models.readout import downsampled, pretrained_read_out, r_squared


def original(name):
    """A network of the archive in the runtime it was made for, in full precision."""
    core = openvino.Core()
    data = [member(fetch("random-face"), f"random_face/data/{name}.{kind}") for kind in ("xml", "bin")]
    return core.compile_model(core.read_model(*data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@torch.no_grad()
def test_eight_faces_agree_with_openvino():
    model, mapping, synthesis = pretrained(), original("MappingNetwork"), original("SynthesisNetwork")
    for z in latents(8, 512, 0).split(1):
        w = model.mapping(z)
        theirs = synthesis(mapping(z.numpy())[0])[0]
        assert np.abs(model.to_image(model.synthesis(w), w).numpy() - theirs).max() <= 1e-3


@torch.no_grad()
@pytest.mark.parametrize("size", [64, 128])
def test_64_faces_that_no_fit_has_seen(size):
    model, read_out = pretrained(), pretrained_read_out(size)
    w = model.to_w(latents(64, 512, stream(0, "held out")))
    read = torch.cat([read_out.synthesize(part) for part in w.split(8)])
    assert r_squared(read, downsampled(model, w, size)) >= 0.97

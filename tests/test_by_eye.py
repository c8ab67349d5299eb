"""Judges fitted to labels by eye: they find what was labelled, say how often they err, and come back from disk."""

import numpy as np
import pytest
import torch

from lib import annotations
from lib.by_eye import COMPONENTS, VIEWS, EyeJudge, cross_validated, fit_eye_judge, read_labelled, views
from lib.domains import DOMAINS, labels_by_eye
from lib.judges import held_out, load_judge, read, save_judge
from lib.lite0 import load_lite0

CPU = torch.device("cpu")
VIEW = VIEWS["judge-b"]


class Squares(torch.nn.Module):
    """A generator of a square: to the left where the first latent is positive, bright where the second is."""

    latent_dim = 2

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z):
        images = 0.05 * torch.from_numpy(np.random.default_rng(len(z)).standard_normal((len(z), 3, 64, 64))).float()
        for image, (side, light) in zip(images, z.tolist(), strict=True):
            left = 12 if side > 0 else 36
            image[:, 24:40, left : left + 16] = 0.8 if light > 0 else -0.8
        return images


def fitted(images, labels):
    """A judge of the view ``VIEW``."""
    network = load_lite0(CPU)
    return fit_eye_judge(network, views(network, images, VIEW), labels, VIEW, 0)


def validated(images, labels):
    """AUC and errors of such judges, on samples they had not seen."""
    return cross_validated(views(load_lite0(CPU), images, VIEW), labels, 0)


@pytest.fixture(scope="module")
def squares():
    """A hundred and twenty squares and what they show, 1 or 0, (120, 2): to the left, bright."""
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((120, 2))).float()
    return Squares()(z), (z > 0).float().numpy()


@pytest.fixture(scope="module")
def judge(squares):
    return fitted(squares[0][:90], squares[1][:90])


def test_a_judge_sees_what_was_labelled(squares, judge):
    left, bright = held_out(judge, squares[0][90:], squares[1][90:] == 1)
    for errors in (left, bright):
        assert errors.true_positives == errors.positives > 0
        assert errors.false_positives == 0


def test_features_have_unit_variance_and_end_in_the_logits(squares, judge):
    reading = read(judge, squares[0][:90])
    assert reading.features.shape == (90, COMPONENTS + 2)
    np.testing.assert_allclose(reading.features.std(0, ddof=1), 1, atol=1e-2)
    np.testing.assert_allclose(reading.features[:, -2:] * judge.spread[-2:].numpy(), reading.logits, atol=1e-4)


def test_a_judge_passes_gradients_to_the_image_and_not_to_its_weights(squares, judge):
    image = squares[0][:2].clone().requires_grad_()
    judge(image)[:, 0].sum().backward()
    assert image.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in judge.parameters())


def test_too_few_samples_are_refused(squares):
    with pytest.raises(ValueError, match="only 60 labelled samples: label at least 65"):
        fitted(squares[0][:60], squares[1][:60])


def test_errors_are_those_of_samples_not_seen(squares):
    images, truth = squares
    noise = (np.random.default_rng(1).random(120) < 0.5).astype(np.float32)
    aucs, errors = validated(images, np.stack([truth[:, 0], noise], 1))
    assert aucs[0] == 1
    assert errors[0].false_positives == 0
    assert aucs[1] < 0.75  # a label that is not in the image cannot be found in it
    assert errors[1].positives == noise.sum()


def test_a_judge_comes_back_from_disk(squares, judge, tmp_path):
    save_judge(tmp_path / "judge.safetensors", judge)
    back = load_judge(tmp_path / "judge.safetensors", CPU, EyeJudge)
    np.testing.assert_array_equal(read(back, squares[0]).logits, read(judge, squares[0]).logits)
    with pytest.raises(ValueError, match="holds 'eye-judge', not 'judge'"):
        load_judge(tmp_path / "judge.safetensors", CPU)


def test_samples_labelled_by_eye_are_the_test_rows(tmp_path, monkeypatch):
    generator = Squares()
    from lib.by_eye import ANNOTATED
    from lib.latent import latents, stream

    z = latents(90, 2, stream(ANNOTATED, "label"))
    marks = [["unsure", "1"] if i == 7 else [str(int(v > 0)) for v in row] for i, row in enumerate(z.tolist())]
    rows = [",".join([str(i), *mark]) for i, mark in enumerate(marks)]
    (tmp_path / "labels.csv").write_text("\n".join(["index,left,bright", *rows]) + "\n")
    dataset = read_labelled(generator, tmp_path / "labels.csv", 20, 1000, 3, CPU)
    assert dataset.images.shape == (110, 3, 64, 64)
    assert dataset.train.sum() == 20
    fresh = latents(20, 2, stream(3, "data"))
    assert (dataset.table["left"][:20] == (fresh[:, 0] > 0).numpy()).mean() > 0.9
    assert dataset.table["bright"][20:].tolist() == [float(bright) for _, bright in marks]
    unsure = np.isnan(dataset.table["left"])
    assert np.flatnonzero(unsure).tolist() == [27]
    fewer = read_labelled(generator, tmp_path / "labels.csv", 20, 80, 3, CPU)
    assert fewer.table["bright"][20:].tolist() == dataset.table["bright"][20:100].tolist()


def test_an_unsure_label_neither_teaches_nor_counts(squares):
    images, labels = squares
    wrong, unsure = labels.copy(), labels.copy()
    wrong[:40, 0], unsure[:40, 0] = 1 - labels[:40, 0], np.nan
    left, bright = held_out(fitted(images, unsure), images[:40], labels[:40] == 1)
    assert left.true_positives == left.positives
    assert bright.true_positives == bright.positives
    aucs, errors = validated(images, unsure)
    assert (errors[0].positives + errors[0].negatives, errors[1].positives + errors[1].negatives) == (80, 120)
    assert aucs[0] == 1
    assert validated(images, wrong)[0][0] < 0.9  # as wrong labels would have counted


@pytest.mark.parametrize(("name", "model"), [("digiface", "gan"), ("ffhq", "mobilestylegan"), ("ffhq", "mobilestylegan-w")])
def test_labels_by_eye_belong_to_one_stream_of_one_generator(name, model):
    domain = DOMAINS[name]
    assert domain.by_eye
    assert annotations.features(domain.annotations) == list(domain.categories)
    few, many = (labels_by_eye(domain, model, 0, "glasses", n) for n in (100, 600))
    assert few == {i: label for i, label in many.items() if i < 100}
    assert 0 < sum(few.values()) < len(few) <= 100
    assert labels_by_eye(domain, model, 1, "glasses", 100) == {}
    assert labels_by_eye(domain, "vae", 0, "glasses", 100) == {}

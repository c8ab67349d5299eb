"""A judge for a few hundred labels: ridge regression on standardised features of a pre-trained network."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import Tensor, nn

from lib.judges import error_counts
from lib.metrics import Errors

PENALTIES = np.logspace(-3, 1, 5)  # to choose from, for features scaled to unit length on average
FOLDS = 5


class LinearJudge(nn.Module):
    """Features (N, d) -> logits (N,); an image is said to have the feature where its logit is positive."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("weight", torch.zeros(features))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.weight + self.bias


def fit(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> LinearJudge:
    """The judge of features (N, d) and bool labels (N,), its penalty chosen by the squared error on samples left out.

    The threshold is where held-out samples are said to have the feature as often as they are labelled so: a penalised
    judge of a rare feature reaches the middle between no and yes on few of those that have it.

    Raises ValueError unless there are at least ten samples of each kind, so that every fold holds some of both.
    """
    require(2 * FOLDS, labels)
    mean, deviation = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale = (deviation + 1e-6) * len(mean) ** 0.5
    standard = (features - mean) / scale
    # A penalised solution lies in the span of the samples: N coordinates there give the same judge as d features.
    power, axes = np.linalg.eigh(standard @ standard.T)
    kept = power > 1e-9 * power[-1]
    power, axes = power[kept] ** 0.5, axes[:, kept]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    ridge = RidgeClassifierCV(PENALTIES).fit(axes * power, labels)
    model = RidgeClassifier(float(ridge.alpha_))
    held_out = cross_val_predict(model, axes * power, labels, cv=folds, method="decision_function")
    threshold = np.sort(held_out)[-labels.sum() :][0]
    judge = LinearJudge(len(mean))
    judge.mean.copy_(torch.from_numpy(mean))
    judge.weight.copy_(torch.from_numpy(standard.T @ (axes @ (ridge.coef_.ravel() / power)) / scale))
    judge.bias.fill_(float(np.ravel(ridge.intercept_)[0] - threshold))
    return judge


def require(least: int, labels: np.ndarray) -> None:
    """Raise ValueError unless the bool labels (N,) hold so many samples of each kind."""
    has, has_not = int(labels.sum()), int((~labels).sum())
    if min(has, has_not) < least:
        raise ValueError(
            f"labels must hold at least {least} samples with the feature and as many without, "
            f"not {has} and {has_not}: label more samples."
        )


class Validation(NamedTuple):
    """Cross-validated logits (N,) of judges that never saw the sample, and the labels bool (N,)."""

    logits: np.ndarray
    labels: np.ndarray

    @property
    def auc(self) -> float:
        """Area under the ROC curve, 0.5 by chance."""
        return float(roc_auc_score(self.labels, self.logits))

    def errors(self, threshold: float = 0.0) -> Errors:
        """What a judge that says yes above this logit answers: the counts that ``lib.metrics.rogan_gladen`` corrects by."""
        return error_counts(self.logits > threshold, self.labels)


def cross_validate(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> Validation:
    """Score each fifth of the samples by a judge fitted to the other four, penalty included.

    Raises ValueError unless there are thirteen samples of each kind: four fifths of them are the ten that ``fit`` asks.
    """
    require(-(-2 * FOLDS * FOLDS // (FOLDS - 1)), labels)
    logits = np.empty(len(labels))
    for seen, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels):
        judge = fit(features[seen], labels[seen], seed)
        logits[held_out] = judge(torch.from_numpy(features[held_out])).numpy()
    return Validation(logits, labels)

"""Unlearning methods: each is a small file with a function ``unlearn(task) -> (unlearned generator, curve)``."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from lib.methods import (
    ablation,
    adversarial,
    amnesia,
    ascent,
    ascent_descent,
    conditional,
    exact,
    finetune,
    guided,
    least,
    literal,
    negation,
    rewrite,
    sham,
    substitute,
    surgery,
    uno,
)
from lib.methods.task import Task
from lib.train import Curve


class Method(NamedTuple):
    """unlearn: what it does; scale: the order of magnitude of its own weight, around which ``lib.search`` looks; strength
    and rate: that weight and the learning rate, for all but the paper's methods those of the best trial of the search."""

    unlearn: Callable[[Task], tuple[nn.Module, Curve]]
    scale: float = 1.0
    strength: float = 1.0
    rate: float = 1e-3


METHODS = {
    "literal": Method(literal.unlearn, 3.0, 3.0),
    "exact": Method(exact.unlearn, 3.0, 3.0),
    "conditional": Method(conditional.unlearn, 3.0, 3.0),
    "anchored": Method(amnesia.unlearn_anchored),
    "least": Method(least.unlearn, 0.01, 0.036, 5.3e-4),
    "sham": Method(sham.unlearn, 3.0, 3.0),
    "fine-tune": Method(finetune.unlearn),
    "ascent": Method(ascent.unlearn),
    "ascent-descent": Method(ascent_descent.unlearn),
    "surgery-ascent": Method(surgery.unlearn_ascent),
    "surgery-descent": Method(surgery.unlearn_descent),
    "uno": Method(uno.unlearn_uno),
    "uno-s": Method(uno.unlearn_uno_s),
    "amnesia": Method(amnesia.unlearn),
    "substitute": Method(substitute.unlearn),
    "guided": Method(guided.unlearn, 0.1),
    "negation": Method(negation.unlearn, 0.3),
    "ablation": Method(ablation.unlearn, 0.1),
    "rewrite": Method(rewrite.unlearn),
    "redaction": Method(adversarial.redact, 0.3),
    "adapt": Method(adversarial.adapt),
}
EDITS = {"literal": literal.edit, "exact": exact.edit, "conditional": conditional.edit}

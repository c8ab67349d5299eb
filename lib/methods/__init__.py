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
    literal,
    minimal,
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
    """unlearn: what it does; strength: its own weight; rate: its learning rate. Those of the baselines are guesses yet."""

    unlearn: Callable[[Task], tuple[nn.Module, Curve]]
    strength: float = 3.0
    rate: float = 1e-3


METHODS = {
    "literal": Method(literal.unlearn),
    "exact": Method(exact.unlearn),
    "conditional": Method(conditional.unlearn),
    "anchored": Method(amnesia.unlearn_anchored),
    "minimal": Method(minimal.unlearn),
    "sham": Method(sham.unlearn),
    "fine-tune": Method(finetune.unlearn),
    "ascent": Method(ascent.unlearn),
    "ascent-descent": Method(ascent_descent.unlearn),
    "surgery-ascent": Method(surgery.unlearn_ascent),
    "surgery-descent": Method(surgery.unlearn_descent),
    "uno": Method(uno.unlearn_uno),
    "uno-s": Method(uno.unlearn_uno_s),
    "amnesia": Method(amnesia.unlearn),
    "substitute": Method(substitute.unlearn),
    "guided": Method(guided.unlearn),
    "negation": Method(negation.unlearn, strength=0.5),
    "ablation": Method(ablation.unlearn, strength=0.1),
    "rewrite": Method(rewrite.unlearn, strength=1.0),
    "redaction": Method(adversarial.redact, strength=0.5),
    "adapt": Method(adversarial.adapt, strength=1.0),
}
EDITS = {"literal": literal.edit, "exact": exact.edit, "conditional": conditional.edit}

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
    """unlearn: what it does; scale, pace: the strength and the learning rate around which ``lib.search`` looks; strength,
    rate: its own weight and learning rate, for all but the paper's methods and the sham those of its best trial."""

    unlearn: Callable[[Task], tuple[nn.Module, Curve]]
    scale: float = 1.0
    strength: float = 1.0
    rate: float = 1e-3
    pace: float = 3e-4


SLOW = 3e-6  # pace of methods that climb a likelihood or follow a blurred one: twenty times as fast they damage all images
METHODS = {
    "literal": Method(literal.unlearn, 3.0, 3.0),
    "exact": Method(exact.unlearn, 3.0, 3.0),
    "conditional": Method(conditional.unlearn, 3.0, 3.0),
    "anchored": Method(amnesia.unlearn_anchored, 1.0, 2.2, 9.5e-5),
    "least": Method(least.unlearn, 0.01, 0.0028, 1.7e-4),
    "sham": Method(sham.unlearn, 3.0, 3.0),
    "fine-tune": Method(finetune.unlearn, 1.0, 0.17, 9.5e-6, pace=SLOW),
    "ascent": Method(ascent.unlearn, 1.0, 3.6, 5.3e-6, pace=SLOW),
    "ascent-descent": Method(ascent_descent.unlearn, 1.0, 3.6, 5.3e-6, pace=SLOW),
    "surgery-ascent": Method(surgery.unlearn_ascent, 1.0, 3.6, 5.3e-6, pace=SLOW),
    "surgery-descent": Method(surgery.unlearn_descent, 1.0, 0.17, 9.5e-6, pace=SLOW),
    "uno": Method(uno.unlearn_uno, 1.0, 0.17, 9.5e-6, pace=SLOW),
    "uno-s": Method(uno.unlearn_uno_s, 1.0, 0.17, 9.5e-6, pace=SLOW),
    "amnesia": Method(amnesia.unlearn, 1.0, 0.17, 9.5e-4),
    "substitute": Method(substitute.unlearn, 1.0, 0.46, 3e-4),
    "guided": Method(guided.unlearn, 0.1, 0.36, 5.3e-4),
    "negation": Method(negation.unlearn, 0.3, 0.65, 9.5e-5),
    "ablation": Method(ablation.unlearn, 0.1, 0.077, 5.3e-5),
    "rewrite": Method(rewrite.unlearn, 1.0, 0.17, 9.5e-4),
    "redaction": Method(adversarial.redact, 0.3, 0.14, 3e-4),
    "adapt": Method(adversarial.adapt, 1.0, 0.17, 9.5e-4),
}
EDITS = {"literal": literal.edit, "exact": exact.edit, "conditional": conditional.edit}

"""LEAST: least edits, adversarially searched and taught. The kit's own method.

The paper's edit is one hyperplane for all latents: where it separates badly, it leaves the feature or moves half of all
latents. Here the teacher is G0 at the nearest latent at which judge A is sure that the feature is absent, found for every
latent by itself by a few steps towards the judge's own boundary (DeepFool, Moosavi-Dezfooli et al., CVPR 2016). A quarter
of every batch are latents that have to change, half of these such as bring the feature back in the student: fresh ones
that still show it, and those that a search in its latent space finds (Madry et al., ICLR 2018). All others stay as they
were.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lib.attacks import latent_search
from lib.latent import prior
from lib.losses import loss_percep
from lib.methods import conditional, exact
from lib.methods.conditional import held
from lib.methods.task import Task
from lib.metrics import l1
from lib.train import Curve

STRIDE = 1.5  # longest step of an edit, in prior standard deviations
SEARCHED = 2  # batches that a search starts from


@dataclass(frozen=True)
class Recipe:
    """What the method is made of, for ``lib.needs`` to leave out one part at a time.

    sure: share of the labelled latents with the feature that judge A may overlook. margin: how far an edit goes beyond
    that, as a multiple of the way back to their median. moves: steps of an edit; 0 for the paper's linear edit. change:
    one latent in so many has to change. rounds: times that the student is searched, and radius: how far, in prior standard
    deviations; with a radius of 0 only fresh latents that still show the feature are found. hold: whether the steps of an
    edit hold other attributes, as the conditional edit does. percep: weight of the distance in structure to the target,
    1 - MS-SSIM, where the image has to change. reuse: times that a latent of the pool is shown, on average. others: weight
    of judge A's verdicts on other features, where the image has to change.
    """

    sure: float = 0.01
    margin: float = 1.0
    moves: int = 4
    change: int = 4
    rounds: int = 4
    radius: float = 2.0
    hold: bool = False
    percep: float = 0.0
    reuse: int = 6
    others: float = 0.01


BUDGET = ("rate", "strength", "steps")  # of a task, where a profile has others for this method
SETTINGS = (*BUDGET, *(part.name for part in fields(Recipe)))


def adapted(task: Task, settings: dict[str, float]) -> tuple[Task, Recipe]:
    """The task and the recipe with ``settings``, by name any of SETTINGS; what they do not name stays as it is."""
    budget = {name: settings[name] for name in BUDGET if name in settings}
    return replace(task, **budget), Recipe(**{name: value for name, value in settings.items() if name not in BUDGET})


def slope(task: Task, z: Tensor) -> tuple[Tensor, Tensor]:
    """Judge A's logit for what G0 shows at z, (N,), and its gradient in the latent, (N, d)."""
    z = z.detach().requires_grad_(True)
    value = task.score(task.made(task.original, z))
    (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient


def least_edit(task: Task, z: Tensor, goal: float, recipe: Recipe = Recipe()) -> Tensor:
    """ẑ (N, d): z moved to where judge A's logit of G0 is ``goal`` or less, each step to the boundary of the linearised
    logit, z - (logit - goal) ∇ / |∇|², at most STRIDE long; latents that are there already stay. With ``recipe.hold`` it
    goes along what the gradient hardly shares with other attributes, to the same boundary."""
    for _ in range(recipe.moves):
        value, gradient = slope(task, z)
        way = held(gradient, task.direction.others.to(z)) if recipe.hold else gradient
        way = way / way.norm(dim=1, keepdim=True).clamp(min=1e-6)
        length = (value - goal) / (gradient * way).sum(1).clamp(min=1e-6)
        z = z - length.clamp(0, STRIDE)[:, None] * way
    return z.detach()


class Lessons:
    """Latents with the images they shall show: those that have to change, those found in the student, those that stay.

    Judge A doubts what scores above ``doubt``, its logit for all but few of the labelled latents with the feature; an edit
    goes to ``goal``, as far below that as their median lies above it. Raises ValueError if it doubts all or none.
    """

    def __init__(self, task: Task, recipe: Recipe = Recipe()) -> None:
        self.task, self.recipe = task, recipe
        scores = self.look(task.original, task.labelled[0])[1]
        self.doubt = float(scores.quantile(recipe.sure))
        self.goal = self.doubt - recipe.margin * (float(scores.median()) - self.doubt)
        z = self.fresh(0, task.steps * task.batch // recipe.reuse)
        shown, logits = self.look(task.original, z)
        doubtful = logits > self.doubt
        if doubtful.all() or not doubtful.any():
            which = "all" if doubtful.all() else "none"
            raise ValueError(f"judge A doubts {which} of {len(z)} latents: give it more labelled samples to learn from.")
        self.change = self.found = self.taught(z[doubtful])
        self.stay = z[~doubtful], shown[~doubtful]

    def fresh(self, number: int, count: int) -> Tensor:
        """Fresh latents (count, d), others for every number and for no step of the training."""
        return prior(self.task.original, count, [self.task.seed, 2**31 + number]).to(self.task.device)

    @torch.no_grad()
    def look(self, generator: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
        """What the generator shows at z, (N, C, H, W), and judge A's logit for it, (N,)."""
        shown = [self.task.made(generator, part) for part in z.split(500)]
        return torch.cat(shown), torch.cat([self.task.score(images) for images in shown])

    def edit(self, z: Tensor) -> Tensor:
        """ẑ (N, d): the least edit, or the paper's, conditional with ``recipe.hold``."""
        if not self.recipe.moves:
            linear = conditional if self.recipe.hold else exact
            return linear.edit(self.task.direction).to(self.task.device)(z)
        return least_edit(self.task, z, self.goal, self.recipe)

    def taught(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents z (N, d) with what G0 shows at the edits of z."""
        return z, torch.cat([self.task.shown(self.edit(part)) for part in z.split(250)])

    def search(self, student: nn.Module, number: int) -> None:
        """Add what brings the feature back: fresh latents that still show it, and those a search finds near the pool's."""
        z = self.fresh(1 + number, len(self.stay[0]) // 4)
        if self.recipe.radius:
            size = SEARCHED * self.task.batch // 2
            pool = enumerate((self.change[0], self.stay[0]))
            starts = torch.cat([part[self.task.draw(len(part), size, number, 5 + k)] for k, part in pool]).cpu()
            found = latent_search(student, self.task.score, starts, self.recipe.radius, 4, 1, self.task.seed)
            z = torch.cat([z, found.to(self.task.device)])
        z = z[self.look(student, z)[1] > self.doubt]
        if len(z):
            old = [] if self.found is self.change else [self.found]
            self.found = tuple(torch.cat(column) for column in zip(*old, self.taught(z), strict=True))

    def batch(self, i: int) -> tuple[Tensor, Tensor, int]:
        """Latents (batch, d), their target images, and how many of them, the first, have to change."""
        count = self.task.batch // self.recipe.change
        parts = ((self.change, count - count // 2), (self.found, count // 2), (self.stay, self.task.batch - count))
        drawn = [[t[self.task.draw(len(part[0]), size, i, k)] for t in part] for k, (part, size) in enumerate(parts)]
        return *(torch.cat(column) for column in zip(*drawn, strict=True)), count


def strayed(logits: Tensor, wanted: Tensor, column: int) -> Tensor:
    """How far verdicts stray from the wanted ones, (N,): the difference of their probabilities, logits (N, features) each,
    summed over all features but the one in ``column``. A face can pass as beardless with its moustache on; no matter how
    it passes, all else the judge shall say of it what it says of the teacher's."""
    apart = (logits.sigmoid() - wanted.sigmoid()).abs()
    return apart.sum(1) - apart[:, column]


def unlearn(task: Task, recipe: Recipe = Recipe()) -> tuple[nn.Module, Curve]:
    """L = mean |g(z) - target|₁, and on the latents that have to change ``strength`` · softplus(judge A's logit - doubt),
    ``percep`` · (1 - MS-SSIM(g(z), target)) and ``others`` · what judge A's other verdicts have ``strayed`` from those on
    the target.

    Not resumable: the lessons are not in a checkpoint, and seconds are soon repeated.
    """
    lessons = Lessons(task, recipe)
    when = {round(task.steps * (k + 1) / (recipe.rounds + 1)): k for k in range(recipe.rounds)}

    def loss(student: nn.Module, i: int) -> dict:
        if i in when:
            lessons.search(student, when[i])
        z, target, count = lessons.batch(i)
        made = task.made(student, z)
        said = task.verdicts(made[:count])
        doubts = softplus(said[:, task.column] - lessons.doubt)
        terms = {"taught": l1(made, target).mean(), "judge": doubts.mean()}
        total = terms["taught"] + task.strength * terms["judge"]
        if recipe.others:
            with torch.no_grad():
                wanted = task.verdicts(target[:count])
            terms["others"] = strayed(said, wanted, task.column).mean()
            total = total + recipe.others * terms["others"]
        if recipe.percep:
            terms["percep"] = loss_percep(made[:count], target[:count], made.new_ones(count))
            total = total + recipe.percep * terms["percep"]
        return {"total": total, **terms}

    return replace(task, checkpoint=None).tune(loss)

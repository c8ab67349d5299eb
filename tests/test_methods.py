"""The methods: each one's own arithmetic on known answers, and what all of them must leave alone."""

import copy
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from lib.attacks import layer_outputs
from lib.latent import Direction, latents, prior, projection, stream
from lib.methods import METHODS, ablation, amnesia, conditional, exact, least, negation, rewrite, surgery
from lib.methods.task import Task
from lib.metrics import ms_ssim
from lib.models import Discriminator, StyleGAN2, sample

CPU = torch.device("cpu")
TRAINED = [name for name in METHODS if name not in ("ablation", "rewrite")]
NEEDS_A_CRITIC = ("redaction", "adapt")


def brightness(images):
    return images.mean((1, 2, 3))


@pytest.fixture
def task(generator):
    """Six steps to unlearn brightness, labelled by the judge itself."""
    generator.requires_grad_(False)
    z = prior(generator, 400, stream(0, "label"))
    bright = brightness(sample(generator, z))
    cut, spread = bright.quantile(0.8), bright.std()
    has = bright > cut
    vector = z[has].mean(0) - z[~has].mean(0)
    direction = Direction(vector, 0.0, 0.5, torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), has)
    torch.manual_seed(1)
    critic = Discriminator(4).requires_grad_(False)

    def judge(x):
        return 8 * (brightness(x)[:, None] - cut) / spread

    return Task(generator, direction, judge, 0, 6, 8, 1e-3, 1.0, 0, CPU, critic)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_makes_a_new_generator_and_leaves_the_original_alone(name, task):
    before, critic = copy.deepcopy(task.original.state_dict()), copy.deepcopy(task.critic.state_dict())
    unlearned, curve = METHODS[name].unlearn(replace(task, strength=METHODS[name].strength))
    assert all(torch.equal(before[key], value) for key, value in task.original.state_dict().items())
    assert all(torch.equal(critic[key], value) for key, value in task.critic.state_dict().items())
    assert not any(weight.requires_grad for weight in [*task.original.parameters(), *unlearned.parameters()])
    z = latents(16, 8, 5)
    images = sample(unlearned, z)
    assert images.isfinite().all()
    assert not torch.equal(images, sample(task.original, z))
    assert curve.seconds > 0


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_seed_gives_the_same_weights(name, task):
    once, again = (METHODS[name].unlearn(task)[0].state_dict() for _ in range(2))
    assert all(torch.equal(once[key], value) for key, value in again.items())


def test_every_step_draws_its_own_labelled_latents_with_the_right_label(task):
    with_feature, without = task.labelled
    assert len(with_feature) + len(without) == 400
    first, again, next_ = task.forget(0), task.forget(0), task.forget(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, next_)
    rows = {tuple(row) for row in with_feature.tolist()}
    assert all(tuple(row) in rows for row in first.tolist())
    assert not any(tuple(row) in rows for row in task.retain(0).tolist())


def test_likelihood_is_worst_where_the_student_differs_and_has_a_gradient_at_the_start(task):
    student = copy.deepcopy(task.original).requires_grad_(True)
    start = task.unlikely(student, task.retain(0), 0)
    (gradient,) = torch.autograd.grad(start, student.project.weight)
    assert gradient.abs().max() > 0
    with torch.no_grad():
        student.project.weight.mul_(0)
        assert task.unlikely(student, task.retain(0), 0) > start


def test_surgery_removes_what_points_along_the_other():
    g, other = torch.tensor([3.0, 4.0]), torch.tensor([2.0, 0.0])
    assert surgery.without(g, other).tolist() == [0, 4]
    assert surgery.without(g, torch.zeros(2)).tolist() == [3, 4]


def test_ascent_makes_images_with_the_feature_less_likely(task):
    unlearned, _ = METHODS["ascent"].unlearn(replace(task, steps=20))
    z = task.forget(99)
    assert task.unlikely(unlearned, z, 0) > task.unlikely(task.original, z, 0)


def test_the_anchor_is_zero_at_the_start_and_weighs_by_importance(task):
    importance = amnesia.fisher(task)
    weights = sum(t.numel() for t in importance)
    assert sum(float(t.sum()) for t in importance) / weights == pytest.approx(1, rel=1e-4)
    student = copy.deepcopy(task.original)
    assert amnesia.anchor(task, student, importance) == 0
    with torch.no_grad():
        student.project.weight += 0.5
    expected = 0.25 * float(importance[0].sum()) / weights
    assert float(amnesia.anchor(task, student, importance)) == pytest.approx(expected, rel=1e-4)
    assert not any(weight.requires_grad for weight in task.original.parameters())


def test_negation_is_linear_in_its_strength(task):
    half, whole = (negation.unlearn(replace(task, strength=s))[0].project.weight for s in (0.5, 1.0))
    start = task.original.project.weight
    torch.testing.assert_close(whole - start, 2 * (half - start), atol=1e-5, rtol=1e-3)


def test_negation_learns_the_feature_first(task):
    edit = negation.towards(task)
    unit = task.direction.vector / task.direction.vector.norm()
    goal = projection(task.labelled[0], unit).mean()
    lifted = projection(edit(latents(50, 8, 3)), unit)
    assert (lifted >= goal - 1e-4).all()


def test_an_ablated_channel_shows_the_mean_of_images_without_the_feature(task):
    unlearned, _ = ablation.unlearn(replace(task, strength=0.25))
    name = ablation.normalised_layer(unlearned)
    layer = unlearned.get_submodule(name)
    dead = (layer.weight == 0).nonzero().flatten()
    assert len(dead) == round(0.25 * len(layer.weight))
    shown = layer_outputs(unlearned, latents(5, 8, 1))[name][:, dead]
    free = layer_outputs(task.original, task.labelled[1])[name].mean(0)[dead]
    torch.testing.assert_close(shown, free.expand(5, -1), atol=1e-4, rtol=1e-4)


def test_the_rewrite_solves_its_least_squares_problem():
    rng = torch.Generator().manual_seed(0)
    w, keys = torch.randn(5, 3, generator=rng).double(), torch.randn(4000, 3, generator=rng).double()
    shift = torch.eye(3).double()
    shift[0, 0] = 0.2
    everything, nothing = torch.ones(4000).double(), torch.zeros(4000).double()
    # All keys moved by one linear map: the rewritten layer is the old one behind that map. None moved: nothing changes.
    torch.testing.assert_close(rewrite.solved(w, keys, keys @ shift.T, everything, 1.0), w @ shift)
    torch.testing.assert_close(rewrite.solved(w, keys, keys, nothing, 1.0), w)
    some = (keys[:, 0] > 1).double()
    rewritten = rewrite.solved(w, keys, keys @ shift.T, some, 0.5)

    def risk(weights):
        moved = (keys @ weights.T - keys @ shift.T @ w.T).square().sum(1)
        return float((some * moved + 0.5 * (1 - some) * (keys @ (weights - w).T).square().sum(1)).mean())

    assert risk(rewritten) < min(risk(w), risk(w @ shift), *(risk(rewritten + 0.01 * d) for d in (w, -w)))


@pytest.mark.parametrize("name", ["ablation", "rewrite", *NEEDS_A_CRITIC])
def test_a_method_that_cannot_work_says_why(name, task):
    torch.manual_seed(0)
    styled = StyleGAN2(latent_dim=8, w_dim=8, channels=1, size=16, channel_base=64).eval().requires_grad_(False)
    other = replace(task, original=styled, critic=None)
    with pytest.raises(ValueError, match="needs"):
        METHODS[name].unlearn(other)


class Linear(nn.Module):
    """A generator whose image is its latent, so that a linear judge has a flat boundary."""

    def __init__(self):
        super().__init__()
        self.latent_dim = 8
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z):
        return (self.weight * z)[:, None, None, :] / 10  # in [-1, 1]


def test_a_least_edit_lands_on_its_goal_by_the_shortest_way(task):
    vector = torch.tensor([3.0, 0, 0, 4, 0, 0, 0, 0])
    linear = replace(task, original=Linear().requires_grad_(False), judge=lambda x: (10 * x[:, 0] * vector).sum(2) - 1)
    z = latents(300, 8, 2)
    edited = least.least_edit(linear, z, -2.0)
    before, after = z @ vector - 1, edited @ vector - 1
    far = before > -2
    assert torch.equal(edited[~far], z[~far])
    torch.testing.assert_close(after[far], torch.full_like(after[far], -2), atol=1e-3, rtol=0)
    torch.testing.assert_close((z - edited)[far].norm(dim=1), (before[far] + 2) / 5, atol=1e-3, rtol=1e-3)


def test_a_least_edit_that_holds_others_lands_on_the_same_goal_and_hardly_moves_them(task):
    vector, other = torch.tensor([3.0, 0, 0, 4, 0, 0, 0, 0]), torch.tensor([[0.0, 0, 0, 2, 0, 0, 0, 1]])
    direction = replace(task.direction, others=other)
    linear = replace(task, original=Linear().requires_grad_(False), direction=direction)
    linear = replace(linear, judge=lambda x: (10 * x[:, 0] * vector).sum(2) - 1)
    z = 0.3 * latents(300, 8, 2)
    free, kept = (least.least_edit(linear, z, -1.0, least.Recipe(hold=hold)) for hold in (False, True))
    far = z @ vector > 0
    for edited in (free, kept):
        torch.testing.assert_close((edited @ vector)[far], torch.zeros(int(far.sum())), atol=1e-3, rtol=0)
        assert torch.equal(edited[~far], z[~far])
    moved = [((edited - z) @ other[0])[far].abs().mean() for edited in (free, kept)]
    assert moved[1] < 0.05 * moved[0]
    assert ((kept - z).norm(dim=1) >= (free - z).norm(dim=1) - 1e-4).all()


@pytest.fixture
def long(task):
    """Enough steps for a pool of some hundred latents."""
    return replace(task, steps=400, batch=16)


def test_lessons_doubt_all_but_the_lowest_positives_and_aim_as_far_below(long):
    lessons = least.Lessons(long)
    scores = long.score(long.shown(long.labelled[0]))
    assert 0 < int((scores < lessons.doubt).sum()) <= least.Recipe().sure * len(scores) + 1
    assert lessons.doubt - lessons.goal == pytest.approx(float(scores.median()) - lessons.doubt, abs=1e-5)
    assert len(lessons.change[0]) + len(lessons.stay[0]) == 400 * 16 // least.Recipe().reuse
    often = least.Lessons(long, least.Recipe(reuse=16))
    assert len(often.change[0]) + len(often.stay[0]) == 400


def test_settings_change_what_they_name_in_task_and_recipe_and_nothing_else(task):
    given, recipe = least.adapted(task, {"rate": 0.5, "steps": 7, "rounds": 9, "reuse": 2})
    assert (given.rate, given.steps, given.strength) == (0.5, 7, task.strength)
    assert recipe == least.Recipe(rounds=9, reuse=2)
    assert least.adapted(task, {}) == (task, least.Recipe())
    assert set(least.SETTINGS) == {"rate", "strength", "steps", *asdict(recipe)}


@pytest.mark.parametrize(("pool", "which"), [(1.0, "all"), (0.0, "none")])
def test_a_judge_that_doubts_all_or_nothing_teaches_nothing(long, monkeypatch, pool, which):
    def look(self, generator, z):
        return z, torch.full((len(z),), pool if len(z) == 400 * 16 // least.Recipe().reuse else 0.0)

    monkeypatch.setattr(least.Lessons, "look", look)
    with pytest.raises(ValueError, match=f"judge A doubts {which} of 1066 latents: give it more labelled samples"):
        least.Lessons(long)


def test_a_quarter_of_every_batch_has_to_change_and_the_rest_stays(long):
    lessons = least.Lessons(long)
    z, target, count = lessons.batch(3)
    assert (len(z), len(target), count) == (16, 16, 4)
    before = long.score(long.shown(z))
    assert (before[:4] > lessons.doubt).all()
    assert (before[4:] <= lessons.doubt).all()
    torch.testing.assert_close(target[4:], long.shown(z[4:]))
    taught = 8 * (brightness(target[:4]) - brightness(long.shown(z[:4])))
    assert (taught < 0).all()
    again = lessons.batch(3)
    assert torch.equal(again[0], z)
    assert not torch.equal(lessons.batch(4)[0], z)


def test_a_search_of_the_student_finds_more_to_learn_and_of_a_perfect_one_nothing(long):
    lessons = least.Lessons(long)
    perfect = copy.deepcopy(long.original)
    with torch.no_grad():
        for weight in perfect.parameters():
            weight.zero_()
    doubted = lessons.doubt
    lessons.doubt = 1e9
    lessons.search(perfect, 0)
    assert lessons.found is lessons.change
    lessons.doubt = doubted
    lessons.search(long.original, 0)
    first = len(lessons.found[0])
    assert first > 0
    assert (long.score(long.shown(lessons.found[0])) > doubted).all()
    lessons.search(long.original, 1)
    assert len(lessons.found[0]) == len(lessons.found[1]) > first


def test_a_recipe_without_a_part_does_without_it(long):
    for hold, method in ((False, exact), (True, conditional)):
        linear = least.Lessons(long, least.Recipe(moves=0, hold=hold))
        z, edit = linear.change[0], method.edit(long.direction)
        torch.testing.assert_close(linear.change[1], long.shown(edit(z)))
    edge = least.Lessons(long, least.Recipe(margin=0.0))
    assert edge.goal == edge.doubt == linear.doubt
    assert least.Lessons(long, least.Recipe(change=8)).batch(0)[-1] == 2
    whole, fresh = least.Lessons(long), least.Lessons(long, least.Recipe(radius=0.0))
    for lessons in (whole, fresh):
        lessons.search(long.original, 0)
    assert 0 < len(fresh.found[0]) < len(whole.found[0])
    assert torch.equal(fresh.found[0], whole.found[0][: len(fresh.found[0])])


def test_without_rounds_the_student_is_never_searched(task, monkeypatch):
    searched = []
    monkeypatch.setattr(least.Lessons, "search", lambda self, student, number: searched.append(number))
    least.unlearn(replace(task, steps=10))
    assert searched == [0, 1, 2, 3]
    least.unlearn(replace(task, steps=10), least.Recipe(rounds=0))
    assert searched == [0, 1, 2, 3]


def test_least_edits_end_the_feature_that_judge_a_sees(long):
    unlearned, _ = least.unlearn(replace(long, strength=0.01))
    z = prior(long.original, 500, [9, 9])
    before, after = (long.score(sample(g, z)) > 0 for g in (long.original, unlearned))
    assert before.float().mean() > 0.1
    assert after.float().mean() < 0.25 * before.float().mean()


def test_the_distance_in_structure_counts_where_the_image_has_to_change(long, monkeypatch):
    losses = []
    monkeypatch.setattr(Task, "tune", lambda task, loss: losses.append(loss(task.original, 0)))
    least.unlearn(replace(long, strength=0.3), least.Recipe(percep=0.25))
    z, target, count = least.Lessons(long).batch(0)
    (terms,) = losses
    structure = 1 - ms_ssim(long.shown(z[:count]), target[:count]).mean()
    assert float(terms["percep"]) == pytest.approx(float(structure), abs=1e-4)
    whole = terms["taught"] + 0.3 * terms["judge"] + 0.25 * terms["percep"]
    assert float(terms["total"]) == pytest.approx(float(whole), abs=1e-5)


def test_other_verdicts_count_as_differences_of_probability_and_the_features_own_does_not():
    half, sure = 0.0, 50.0  # logits of the probabilities a half and one
    logits = torch.tensor([[sure, half, -sure], [half, sure, half]])
    wanted = torch.tensor([[-sure, sure, -sure], [half, -sure, sure]])
    torch.testing.assert_close(least.strayed(logits, wanted, 0), torch.tensor([0.5, 1.5]))
    torch.testing.assert_close(least.strayed(logits, wanted, 1), torch.tensor([1.0, 0.5]))
    assert not least.strayed(logits[:, :1], wanted[:, :1], 0).any()  # a judge of one feature has no others


def test_other_verdicts_are_wanted_as_on_the_teachers_image_where_it_has_to_change(long, monkeypatch):
    losses = []
    monkeypatch.setattr(Task, "tune", lambda task, loss: losses.append(loss(task.original, 0)))
    two = replace(long, judge=lambda images: torch.cat([long.judge(images), brightness(images)[:, None]], dim=1))
    for weight in (0.25, 0.0):
        least.unlearn(replace(two, strength=0.3), least.Recipe(others=weight))
    (z, target, count), (terms, without) = least.Lessons(two).batch(0), losses
    shown, wanted = (brightness(images[:count]).sigmoid() for images in (long.shown(z), target))
    assert float(terms["others"]) == pytest.approx(float((shown - wanted).abs().mean()), abs=1e-5) != 0
    assert float(terms["total"] - without["total"]) == pytest.approx(0.25 * float(terms["others"]), abs=1e-5)
    assert "others" not in without

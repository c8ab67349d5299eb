"""Cartoon faces with exact labels: attributes are drawn first, with any frequencies and dependences, then rendered.

The labels are what the renderer is told to draw, so they have no error. 0/1 columns: bangs, beard, glasses, hat, long-hair,
moustache, smile, sunglasses. Code columns: skin-tone and hair-colour, numbered in the order of ``SKIN_TONES`` and
``HAIR_COLOURS``. The hair colour is that of facial hair too; under a hat, without facial hair, it cannot be seen.
Hats exclude bangs and long hair, glasses exclude sunglasses, and beards, which have a moustache in them, moustaches.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, product
from multiprocessing import get_context

import numpy as np
from tqdm.auto import tqdm

from lib.cartoons import ACCESSORIES, FACIAL_HAIR, HAIR_COLOURS, MOUTHS, SIZE, SKIN_TONES, TOPS, faces
from lib.data import Dataset, Table
from lib.runs import cores, in_batch

Frequencies = Mapping[str, float | Sequence[float]]  # a 0/1 attribute -> its frequency, another -> one share a code

FREQUENCIES: Frequencies = {
    "bangs": 0.10,
    "beard": 0.10,
    "glasses": 0.10,
    "hat": 0.10,
    "long-hair": 0.30,
    "moustache": 0.10,
    "smile": 0.40,
    "sunglasses": 0.10,
    "skin-tone": (0.20, 0.20, 0.20, 0.20, 0.20),  # as SKIN_TONES
    "hair-colour": (0.25, 0.25, 0.15, 0.15, 0.10, 0.10),  # as HAIR_COLOURS
}
CARTOONS = tuple(name for name, value in FREQUENCIES.items() if isinstance(value, float))  # the 0/1 attributes
CODES = {"skin-tone": len(SKIN_TONES), "hair-colour": len(HAIR_COLOURS)}
EXCLUSIVE = (("hat", "bangs"), ("hat", "long-hair"), ("glasses", "sunglasses"), ("beard", "moustache"))

LABELS, PIXELS = 0, 1  # the streams of random numbers: one for all labels, one for each picture
CHUNK = 250  # pictures a task of a process


def draw(
    count: int,
    seed: int,
    frequencies: Frequencies | None = None,
    given: Mapping[str, Frequencies] | None = None,
    processes: int | None = None,
) -> Dataset:
    """``count`` faces, uint8 (count, 3, 64, 64), with their attributes; every sixth row is for testing.

    Row i depends on the seed and i alone, so a larger draw begins with the smaller one. Raises ValueError as ``labels``
    does for its ``frequencies`` and ``given``; ``processes`` as for ``render``.
    """
    table = labels(count, seed, frequencies, given)
    return Dataset(render(table, seed, processes), table, np.arange(count) % 6 != 5)


def labels(
    count: int, seed: int, frequencies: Frequencies | None = None, given: Mapping[str, Frequencies] | None = None
) -> Table:
    """An attribute table of ``count`` rows, float32, drawn from the distribution asked for.

    ``frequencies`` overrides ``FREQUENCIES``. ``given`` makes attributes depend on a 0/1 attribute and leaves their
    frequencies as they are: ``given={"hat": {"beard": 0.5}}`` puts a beard on half of those who wear a hat. Whatever is
    not asked for stays as independent as it can be. Any other dependence: write the table yourself and ``render`` it.

    Raises ValueError in one sentence for an unknown attribute, a frequency outside 0..1, shares that do not add up to 1,
    and for frequencies that no population can have.
    """
    if count < 0 or seed < 0:
        raise ValueError(f"count and seed must not be negative, but they are {count} and {seed}.")
    combinations = drawable()
    upto = np.cumsum(distribution(combinations, {**FREQUENCIES, **(frequencies or {})}, given or {}))
    chosen = np.searchsorted(upto, upto[-1] * np.random.default_rng([seed, LABELS]).random(count), "right")
    return {name: column[chosen] for name, column in combinations.items()}


def render(table: Table, seed: int, processes: int | None = None) -> np.ndarray:
    """The faces of an attribute table as uint8 (N, 3, 64, 64); what no attribute fixes is drawn from (seed, row number).

    So two tables that differ in one attribute give pairs of faces that differ in it and nothing else.
    ``processes``: how many work side by side, all cores if None; the pictures do not depend on it. They are spawned, so a
    script calls this under ``if __name__ == "__main__"``. Raises ValueError in one sentence for a table that lacks an
    attribute or has a row that cannot be drawn.
    """
    check_table(table)
    table = {name: table[name] for name in FREQUENCIES}
    starts = range(0, len(table["hat"]), CHUNK)
    tables = [{name: column[start : start + CHUNK] for name, column in table.items()} for start in starts]
    keys = [[[seed, PIXELS, start + i] for i in range(len(t["hat"]))] for start, t in zip(starts, tables, strict=True)]
    images = np.empty((len(table["hat"]), 3, SIZE, SIZE), np.uint8)
    workers = min(processes or cores(), len(starts))
    with tqdm(total=len(images), desc="faces", unit="face", disable=in_batch()) as bar:

        def collect(parts: Iterable[np.ndarray]) -> None:
            for start, part in zip(starts, parts, strict=True):
                images[start : start + len(part)] = part
                bar.update(len(part))

        if workers <= 1:
            collect(map(faces, tables, keys))
        else:
            with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
                collect(pool.map(faces, tables, keys))
    return images


def check_table(table: Table) -> None:
    """Raise ValueError, naming the column or the row, unless every row of the table can be drawn."""
    for name in FREQUENCIES:
        if name not in table:
            raise ValueError(f"the table has no column {name!r}: give one for each of {', '.join(FREQUENCIES)}.")
        codes = CODES.get(name, 2)
        if not np.isin(table[name], np.arange(codes)).all():
            raise ValueError(f"column {name!r} must hold whole numbers from 0 to {codes - 1}.")
    if len({len(table[name]) for name in FREQUENCIES}) > 1:
        raise ValueError("the columns of the table must have one value a face, but their lengths differ.")
    for a, b in EXCLUSIVE:
        both = np.flatnonzero((table[a] == 1) & (table[b] == 1))
        if len(both):
            raise ValueError(f"row {both[0]} has {a} and {b}, which exclude each other.")


def drawable() -> Table:
    """Every combination of attributes that can be drawn, one a row, float32."""
    names = ("hat", "bangs", "long-hair", "glasses", "sunglasses", "beard", "moustache", "smile", *CODES)
    codes = [[(code,) for code in range(n)] for n in CODES.values()]
    rows = [list(chain(*parts)) for parts in product(TOPS, ACCESSORIES, FACIAL_HAIR, MOUTHS, *codes)]
    columns = dict(zip(names, np.array(rows, np.float32).T, strict=True))
    return {name: columns[name] for name in FREQUENCIES}


def distribution(combinations: Table, frequencies: Frequencies, given: Mapping[str, Frequencies]) -> np.ndarray:
    """The probability of each combination (K,): among all that have these frequencies, the one of greatest entropy.

    Found by iterative proportional fitting (Deming and Stephan 1940). Raises ValueError as ``labels`` does.
    """
    shares = {name: checked_shares(name, value) for name, value in frequencies.items()}
    blocks = [(combinations[name], shares[name]) for name in CODES] + [(combinations["smile"], shares["smile"])]
    for a, b in EXCLUSIVE:
        neither = 1 - shares[a][1] - shares[b][1]
        if neither < -1e-9:
            raise ValueError(f"{a} and {b} exclude each other: their frequencies must add up to 1 at most.")
        blocks.append((combinations[a] + 2 * combinations[b], np.array([max(neither, 0), shares[a][1], shares[b][1]])))
    for condition, table in given.items():
        for name, value in table.items():
            targets = conditional_targets(condition, name, value, shares)
            blocks.append((combinations[condition] * len(shares[name]) + combinations[name], targets))
    return fit(len(combinations["hat"]), [(block.astype(int), targets) for block, targets in blocks])


def checked_shares(name: str, value: float | Sequence[float]) -> np.ndarray:
    """The share of each code of an attribute, (2,) or (codes,); ValueError if there is no such attribute or share."""
    if name not in FREQUENCIES:
        raise ValueError(f"attribute {name!r} is unknown: choose among {', '.join(FREQUENCIES)}.")
    shares = np.atleast_1d(np.asarray(value, float))
    if shares.shape != (CODES.get(name, 1),):
        raise ValueError(f"{name} needs {CODES.get(name, 1)} frequencies, not {shares.size}.")
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"frequencies of {name} must lie in 0..1, but they are {value}.")
    if name in CODES and abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"the frequencies of {name} must add up to 1, not {shares.sum():g}.")
    return shares if name in CODES else np.array([1 - shares[0], shares[0]])


def conditional_targets(
    condition: str, name: str, value: float | Sequence[float], shares: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The probabilities of each code of ``name`` without the condition, then with it; ValueError if there are none."""
    if condition not in FREQUENCIES or condition in CODES or condition == name:
        raise ValueError(f"given[{condition!r}] cannot set {name}: the condition must be another 0/1 attribute.")
    inside = checked_shares(name, value)
    if (condition, name) in EXCLUSIVE or (name, condition) in EXCLUSIVE:
        if inside[1] > 0:
            raise ValueError(f"{name} given {condition} can only be 0: {condition} and {name} exclude each other.")
        inside = np.array([1.0, 0.0])
    met = shares[condition][1] * inside
    unmet = shares[name] - met
    if unmet.min() < -1e-9:
        raise ValueError(
            f"{name} given {condition} cannot be {value}: with these frequencies of {condition} and {name}, "
            f"that of {name} without {condition} would leave 0..1."
        )
    return np.concatenate([unmet.clip(min=0), met])


def fit(size: int, blocks: list[tuple[np.ndarray, np.ndarray]], rounds: int = 2000) -> np.ndarray:
    """Probabilities (size,) whose sums over the blocks numbered by (size,) ints are the targets of each constraint.

    Raises ValueError when no such probabilities are found.
    """
    share = np.full(size, 1 / size)
    for _ in range(rounds):
        worst = 0.0
        for block, targets in blocks:
            now = np.bincount(block, share, len(targets))
            worst = max(worst, np.abs(now - targets).max())
            share = share * np.divide(targets, now, out=np.zeros_like(now), where=now > 0)[block]
        if worst < 1e-9:
            return share
    if worst > 1e-4:
        raise ValueError("the frequencies asked for cannot hold together: loosen one of those in `given`.")
    return share

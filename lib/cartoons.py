"""One cartoon face from its attributes: dicebear's avataaars as svg, rasterised by resvg to 64x64.

Style: "Avataaars" by Pablo Stanley (https://avataaars.com), free for personal and commercial use, as DiceBear ships it.
Nothing here needs torch, so that a spawned process starts quickly.
"""

import io
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np
import resvg_py
from PIL import Image

SIZE = 64

# Variants by what they show. Those that an eye could argue about are left out: grins without a smile, round white eyes
# that look like glasses, curtains of hair that are half a fringe, scarves and turbans.
TOPS = {  # (hat, bangs, long-hair); long hair falls past the chin, bangs reach the brows, a hat hides all hair
    (1, 0, 0): ("hat", "winterHat1", "winterHat02", "winterHat03", "winterHat04"),
    (0, 1, 0): ("shaggy", "shaggyMullet"),
    (0, 1, 1): ("bob", "curvy", "longButNotTooLong", "miaWallace", "straightAndStrand"),
    (0, 0, 1): ("curly", "dreads", "fro", "straight01", "straight02"),
    (0, 0, 0): (
        *("bun", "dreads01", "dreads02", "shortCurly", "shortFlat", "shortRound", "shortWaved", "sides"),
        *("theCaesar", "theCaesarAndSidePart"),
    ),
}
ACCESSORIES = {  # (glasses, sunglasses)
    (0, 0): (),
    (1, 0): ("prescription01", "prescription02", "round"),
    (0, 1): ("kurt", "sunglasses", "wayfarers"),
}
FACIAL_HAIR = {  # (beard, moustache); every beard has a moustache in it, "moustache" is one without a beard
    (0, 0): (),
    (1, 0): ("beardLight", "beardMajestic", "beardMedium"),
    (0, 1): ("moustacheFancy", "moustacheMagnum"),
}
MOUTHS = {(0,): ("concerned", "disbelief", "sad", "screamOpen", "serious"), (1,): ("smile", "twinkle")}  # (smile,)

# Chosen so that every hair colour stands out from every skin tone: a beard that cannot be seen would be a wrong label.
SKIN_TONES = {"pale": "ffdbb4", "light": "edb98a", "tan": "d08b5b", "brown": "ae5d29", "dark": "6e4c3c"}
HAIR_COLOURS = {
    "black": "150f0d",
    "auburn": "741f0c",
    "ginger": "e2571e",
    "blonde": "e8c34a",
    "grey": "8f8f94",
    "white": "f4f4f4",
}

# What no label speaks of, drawn evenly.
EYES = ("closed", "default", "happy", "side", "wink")
BROWS = (
    *("angryNatural", "default", "defaultNatural", "flatNatural", "frownNatural", "raisedExcited"),
    *("raisedExcitedNatural", "sadConcerned", "sadConcernedNatural", "upDown", "upDownNatural"),
)
CLOTHES = (
    *("blazerAndShirt", "blazerAndSweater", "collarAndSweater", "hoodie", "overall", "shirtCrewNeck"),
    *("shirtScoopNeck", "shirtVNeck"),
)
CLOTHES_COLOURS = ("262e33", "65c9ff", "5199e4", "25557c", "e6e6e6", "929598", "a7ffc4", "ffafb9", "ffffb1", "ff5c5c")
FRAME_COLOURS = ("101418", "2a52be", "ff488e", "17b26a")
HAT_COLOURS = ("ff5c5c", "25557c", "5199e4", "ff488e", "2e8b57", "ffc04d")
BACKGROUNDS = ("b6e3f4", "c0aede", "d1d4f9", "c8e6c9", "9fd8cb", "8fb8de")


@cache
def style() -> object:
    """The avataaars style, read once a process."""
    from dicebear import Style  # here, because it takes a second and every notebook imports this module

    return Style(json.loads((files("dicebear_styles") / "avataaars.json").read_text()))


def options(attributes: Mapping[str, float], rng: np.random.Generator) -> dict[str, object]:
    """Every choice of one face: what its attributes demand, and the rest and the jitter drawn from ``rng``.

    attributes: a value for each column of ``lib.avatars.FREQUENCIES``. Another value of one attribute leaves the choices
    that it does not concern as they are. Raises KeyError for a face that cannot be drawn.
    """

    def one(choices: tuple[str, ...]) -> str | None:
        place = rng.random()  # drawn even where there is no choice, so that the choices after it stay the same
        return choices[int(place * len(choices))] if choices else None

    def shown(table: dict[tuple[int, ...], tuple[str, ...]], *names: str) -> tuple[str, ...]:
        return table[tuple(int(attributes[name]) for name in names)]

    accessories = shown(ACCESSORIES, "glasses", "sunglasses")
    facial_hair = shown(FACIAL_HAIR, "beard", "moustache")
    hair = list(HAIR_COLOURS.values())[int(attributes["hair-colour"])]
    chosen = {
        "topVariant": one(shown(TOPS, "hat", "bangs", "long-hair")),
        "accessoriesVariant": one(accessories),
        "accessoriesProbability": 100 * bool(accessories),
        "facialHairVariant": one(facial_hair),
        "facialHairProbability": 100 * bool(facial_hair),
        "mouthVariant": one(shown(MOUTHS, "smile")),
        "eyesVariant": one(EYES),
        "eyebrowsVariant": one(BROWS),
        "clothesVariant": one(CLOTHES),
        "skinColor": list(SKIN_TONES.values())[int(attributes["skin-tone"])],
        "hairColor": hair,
        "facialHairColor": hair,
        "clothesColor": one(CLOTHES_COLOURS),
        "accessoriesColor": one(FRAME_COLOURS),
        "hatColor": one(HAT_COLOURS),
        "backgroundColor": one(BACKGROUNDS),
        # Enlarged and moved down a little, so that the lower edge of the body stays out of the picture when it turns.
        "scale": round(rng.uniform(1.04, 1.14), 4),
        "rotate": round(rng.uniform(-3, 3), 4),  # degrees
        "translateX": round(rng.uniform(-3, 3), 4),  # percent of the width
        "translateY": round(rng.uniform(0, 3), 4),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def raster(svg: str) -> np.ndarray:
    """The picture of an svg with an opaque background, uint8 (3, 64, 64)."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).transpose(2, 0, 1)


def face(attributes: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """The picture of one face, uint8 (3, 64, 64); see ``options``."""
    from dicebear import Avatar

    return raster(str(Avatar(style(), options(attributes, rng))))


def faces(table: dict[str, np.ndarray], keys: list[list[int]]) -> np.ndarray:
    """One face a row of the table, each drawn from a generator keyed by its own ``keys[i]``: uint8 (N, 3, 64, 64)."""
    rows = ({name: column[i] for name, column in table.items()} for i in range(len(keys)))
    return np.stack([face(row, np.random.default_rng(key)) for row, key in zip(rows, keys, strict=True)])

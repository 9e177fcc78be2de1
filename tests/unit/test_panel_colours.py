"""Every text colour of the panel reads on every ground it stands on (WCAG 2.2 AA: 4.5:1), in light and in dark."""

import re

import pytest

from holdfast.panel.assets import ROOT

CSS = (ROOT / "css/base.css").read_text()
TOKEN = re.compile(r"--([\w-]+):\s*(#[0-9a-f]{6});")


def blocks() -> list[dict[str, str]]:
    """The definitions of colour tokens in the order of the file: light, dark by the system, dark by choice."""
    found = [dict(TOKEN.findall(block)) for block in re.findall(r"\{[^{}]*--page:[^{}]*\}", CSS)]
    assert len(found) == 3
    return found


LIGHT, DARK, CHOSEN_DARK = blocks()
GROUNDS = ("page", "surface", "sunken")
TONES = ("ok", "busy", "warn", "bad", "idle")
PAIRS = [
    *((text, ground) for text in ("text", "dim") for ground in GROUNDS),
    *(("text", f"{tone}-soft") for tone in TONES),
    *((tone, f"{tone}-soft") for tone in TONES),
    *((tone, ground) for tone in TONES for ground in GROUNDS),
    ("dim", "busy-soft"),
    ("busy", "ok-soft"),
    ("busy", "warn-soft"),
    ("busy", "bad-soft"),
    ("warn", "busy-soft"),
    ("bad", "busy-soft"),
    ("on-brand", "brand"),
    ("on-brand", "brand-hover"),
    ("brand", "surface"),
]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_contrast(theme: dict[str, str], text: str, ground: str) -> None:
    one, other = sorted((luminance(theme[text]), luminance(theme[ground])))
    assert (other + 0.05) / (one + 0.05) >= 4.5


def test_dark_is_the_same_whoever_chose_it() -> None:
    assert DARK == CHOSEN_DARK
    assert DARK.keys() == LIGHT.keys()

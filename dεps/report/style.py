"""One look for all figures: a style file, neutral colours, and for each method its colour, label and place."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
STYLE = Path(__file__).parent / "paper.mplstyle"

#: colours that are no method's: text, less of it, least of it, ground, and the full model. Figures use no other greys,
#: since the page turns these into those of its dark theme.
INK, SOFT, FAINT, PAPER, FULL = "#1f2933", "#52606d", "#a3adb8", "#ffffff", "#3e4753"

#: label and colour (Okabe and Ito's colour-blind-safe palette), in the order of legends and tables
METHODS = {
    "deps": ("DεpS", "#D55E00"),
    "ofa": ("OFA", "#0072B2"),
    "compofa": ("CompOFA", "#56B4E9"),
    "bignas": ("BigNAS (cosine)", "#009E73"),
    "bignas_paper": ("BigNAS (as its paper)", "#44AA99"),
    "rss": ("RSS", "#CC79A7"),
    "rss_short": ("RSS-short", "#E69F00"),
    "full_model": ("full model", FULL),
}
_SPARE = ["#7F5539", "#6A4C93", "#8AC926", "#1982C4", "#6C757D"]


def label(method: str) -> str:
    """How figures and tables call a method."""
    return METHODS[method][0] if method in METHODS else method


def colours(methods: list[str]) -> dict[str, str]:
    """The colour of each method; ones that are not known get spare colours by name."""
    unknown = sorted(set(methods) - set(METHODS))
    spare = {method: _SPARE[number % len(_SPARE)] for number, method in enumerate(unknown)}
    return {method: METHODS[method][1] if method in METHODS else spare[method] for method in methods}

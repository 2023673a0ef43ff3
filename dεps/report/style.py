"""Gives all figures one look: a style file, neutral colours, and the label and colour of each method."""

from __future__ import annotations

from pathlib import Path

import matplotlib

from dεps.methods.registry import looks

matplotlib.use("Agg")
STYLE = Path(__file__).parent / "paper.mplstyle"

#: colours of no method: text, softer, faintest, background, and the full model. Figures use no other greys,
#: since the page turns these into those of its dark theme.
INK, SOFT, FAINT, PAPER, FULL = "#1f2933", "#52606d", "#a3adb8", "#ffffff", "#3e4753"

_SPARE = ["#7F5539", "#6A4C93", "#8AC926", "#9A8B00", "#6C757D"]


def label(method: str) -> str:
    """Label of a method in figures and tables; `deps_no_ramp`, a variant of `deps` by its params, is "DεpS no ramp"."""
    known = [name for name in looks() if method == name or method.startswith(f"{name}_")]
    if not known:
        return method
    name = max(known, key=len)
    return looks()[name].label + method.removeprefix(name).replace("_", " ")


def colours(methods: list[str]) -> dict[str, str]:
    """Colour of each method; methods without one get spare colours in alphabetical order."""
    unknown = sorted(set(methods) - set(looks()))
    spare = {method: _SPARE[number % len(_SPARE)] for number, method in enumerate(unknown)}
    return {method: looks()[method].colour if method in looks() else spare[method] for method in methods}

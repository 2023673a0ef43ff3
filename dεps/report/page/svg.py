"""Turns SVG files into elements of a page with a light and a dark theme."""

from __future__ import annotations

import re
from pathlib import Path

from dεps.report.style import FAINT, FULL, INK, PAPER, SOFT

#: beginning of the ids of letters' shapes, which are the same in all figures
_GLYPH = "DejaVu"
#: the page's custom property that takes the place of each neutral colour
THEME = {INK: "--ink", SOFT: "--soft", FAINT: "--faint", PAPER: "--card", FULL: "--full"}


def inline(path: Path, prefix: str) -> str:
    """The `<svg>` element of a file by matplotlib, without a size of its own.

    Its ids get `prefix` in front, since a page shares one set of ids; only those of letters are left, for
    `share_glyphs`. Neutral colours become the page's, and coordinates get two decimals. A text that is a
    number, drawn as shapes of letters, has it as `data-number`: by those of its ticks a zoomed figure has others.
    """
    text = path.read_text("utf-8")
    svg = text[text.index("<svg") :].strip()
    svg = re.sub(r'(<g id="text_\d+)">\s*<!-- ([−-]?[\d.]+) -->', r'\1" data-number="\2">', svg)
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", re.sub(r">\s+<", "><", svg))
    svg = re.sub(r"scale\([^)]*\)|\d+\.\d{3,}", lambda match: _short(match[0]), svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(rf'\bid="(?!{_GLYPH})', f'id="{prefix}-', svg)
    svg = re.sub(rf'(href="#|url\(#)(?!{_GLYPH})', rf"\g<1>{prefix}-", svg)
    head, end, rest = svg.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return themed(head.replace("<svg", '<svg aria-hidden="true" focusable="false"') + end + rest)


def _short(text: str) -> str:
    """A coordinate, in points, with two decimals; what scales letters stays as it is."""
    return text if text.startswith("scale") else f"{float(text):.2f}".rstrip("0").rstrip(".")


def share_glyphs(page: str) -> str:
    """Leave out the shape of each letter but where it first stands: all figures of a page use the same."""
    seen: set[str] = set()

    def once(match: re.Match[str]) -> str:
        if match[1] in seen:
            return ""
        seen.add(match[1])
        return match[0]

    return re.sub(rf'<path id="({_GLYPH}[^"]*)"[^>]*/>', once, page)


def themed(svg: str) -> str:
    """Replace every neutral colour by a custom property, which falls back on that colour."""
    # A custom property works in a style, not in an attribute.
    svg = re.sub(r'\bfill="(#[0-9a-f]{6})"', r'style="fill: \1"', svg)
    return re.sub("|".join(THEME), lambda match: f"var({THEME[match[0]]}, {match[0]})", svg)

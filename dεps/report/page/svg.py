"""Turns SVG files into elements of a page with a light and a dark theme."""

from __future__ import annotations

import re
from pathlib import Path

from dεps.report.style import FAINT, FULL, INK, PAPER, SOFT

#: the page's custom property that takes the place of each neutral colour
THEME = {INK: "--ink", SOFT: "--soft", FAINT: "--faint", PAPER: "--card", FULL: "--full"}


def inline(path: Path, prefix: str) -> str:
    """The `<svg>` element of a file by matplotlib, without a size of its own.

    Its ids get `prefix` in front, since a page shares one set of ids, and neutral colours become the page's.
    """
    text = path.read_text("utf-8")
    svg = text[text.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", re.sub(r">\s+<", "><", svg))
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    head, end, rest = svg.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return themed(head.replace("<svg", '<svg aria-hidden="true" focusable="false"') + end + rest)


def themed(svg: str) -> str:
    """Replace every neutral colour by a custom property, which falls back on that colour."""
    # A custom property works in a style, not in an attribute.
    svg = re.sub(r'\bfill="(#[0-9a-f]{6})"', r'style="fill: \1"', svg)
    return re.sub("|".join(THEME), lambda match: f"var({THEME[match[0]]}, {match[0]})", svg)

"""`reports/index.html`: one page that opens offline, figures inline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dεps.identity import digest
from dεps.reporting.kinds import kinds
from dεps.reporting.results import Results
from dεps.reporting.tables import caption, study_caption, study_table, summary

TEMPLATE = Path(__file__).with_name("index.html.j2")


def render(experiments: Sequence[Results], folder: Path) -> str:
    """The page over all experiments; their figures are read from `folder/<experiment>/<figure>.svg`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    sections = [
        {
            "name": results.experiment,
            "caption": caption(results),
            "table": summary(results),
            "study": study_table(results) if results.has_study else None,
            "study_caption": study_caption(results) if results.has_study else "",
            "seeds": results.seeds,
            "params_digest": digest(results.params),
            "data_digest": digest(results.manifest["sha256"]),
            "figures": [
                {"title": kind.title, "alt": kind.alt, "svg": inline(folder / results.experiment / f"{kind.name}.svg")}
                for kind in kinds(results)
            ],
        }
        for results in experiments
    ]
    return environment.get_template(TEMPLATE.name).render(sections=sections)


def inline(path: Path) -> str:
    """An SVG file as an element; its ids get the file's name in front, since a page shares one set of ids."""
    text = path.read_text()
    svg = text[text.index("<svg") :]
    prefix = f"{path.parent.name}-{path.stem}-"
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}", svg)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )

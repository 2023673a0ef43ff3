"""Renders `reports/index.html`: one page that opens offline, with figures, styles and downloads inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dεps.methods.registry import looks
from dεps.report import checklist, claims
from dεps.report.page import provenance
from dεps.report.page.highlights import certainty, highlights
from dεps.report.page.svg import inline
from dεps.report.registry import FigureFile, figures, sections
from dεps.report.results import Results
from dεps.report.style import colours, label
from dεps.report.tables import (
    FIGURES,
    caption,
    latex,
    markdown,
    marked,
    models_caption,
    models_table,
    other_archs,
    study_caption,
    study_table,
    summary,
)

FOLDER = Path(__file__).parent
TEMPLATE, STYLE_SHEET, SCRIPT = (FOLDER / name for name in ("index.html.j2", "page.css", "page.js"))


def render(
    experiments: Sequence[Results],
    folder: Path,
    planned: claims.Planned,
    published: Sequence[Results] = (),
    figures: Path = FIGURES,
) -> str:
    """HTML of the page; figures are read from `folder/<experiment>/<figure>.svg` and `.pdf`.

    Those of `published` experiments are read from `figures/…`. `planned` tells the training costs that claims at
    published lengths are about.

    Reports of other experiments in `folder` are only linked, since their numbers may be of other code.
    """
    others = {path.parent.name for path in folder.glob("*/results.md")} - {one.experiment for one in experiments}
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    swatches = colours([*looks(), *(method for results in experiments for method in results.methods)])
    return environment.get_template(TEMPLATE.name).render(
        sections=[
            _section(results, place / results.experiment)
            for place, kind in ((folder, experiments), (figures, published))
            for results in kind
        ],
        claims=_table(claims.table(claims.rows([*published, *experiments], planned)), claims.caption(), "claims"),
        others=[{"name": name, "file": f"experiments/{quote(name)}/results.md"} for name in sorted(others)],
        style=STYLE_SHEET.read_text("utf-8"),
        script=SCRIPT.read_text("utf-8"),
        swatches={name(method): colour for method, colour in swatches.items() for name in (label, marked)},
    )


def _section(results: Results, folder: Path) -> dict[str, Any]:
    name = results.slug
    return {
        "name": name,
        "title": results.title,
        "experiment": results.experiment,
        "origin": results.origin,
        "highlights": highlights(results),
        "certainty": certainty(results),
        "results": _table(summary(results), caption(results), f"{name}-results"),
        "study": _table(study_table(results), study_caption(results), f"{name}-study") if results.has_study else None,
        "models": _table(models_table(results), models_caption(results), f"{name}-models")
        if len(results.models)
        else None,
        "checklist": _table(checklist.checklist(results), checklist.caption(results), f"{name}-checklist"),
        "groups": [_group(results, heading, found, folder) for heading, found in sections(results).items()],
        "runs": provenance.runs(results),
        "files": provenance.all_sources(results, figures(results)),
        "data": provenance.data_digest(results),
        "images": results.manifest["sha256"],
        "params": yaml.safe_dump(provenance.determinants(results), sort_keys=False, allow_unicode=True),
    }


def _group(results: Results, heading: str, found: Sequence[FigureFile], folder: Path) -> dict[str, Any]:
    name, others = results.slug, other_archs(results)
    shown = [
        {
            "id": f"{name}-{figure.name}",
            "about": figure.about,
            "note": figure.about.note + (f" {others}." if figure.about.compares_points and others else ""),
            "svg": inline(folder / f"{figure.name}.svg", f"{name}-{figure.name}"),
            "file": f"{folder.parent.name}/{results.experiment}/{figure.name}.svg",
            "pdf": _data_uri("application/pdf", (folder / f"{figure.name}.pdf").read_bytes()),
            "origin": provenance.origin(results, figure),
        }
        for figure in found
    ]
    return {"id": f"{name}-{slug(heading)}", "heading": heading, "figures": shown}


def _table(table: pd.DataFrame, title: str, name: str) -> dict[str, Any]:
    """A table, its caption, and its downloads as CSV, LaTeX and Markdown, as links that hold their content."""
    files = [
        ("CSV", "csv", "text/csv", table.to_csv(index=False)),
        ("LaTeX", "tex", "application/x-tex", latex(table, title)),
        ("Markdown", "md", "text/markdown", markdown(table, title)),
    ]
    downloads = [
        {"kind": kind, "name": f"{name}.{ending}", "uri": _data_uri(f"{media};charset=utf-8", text.encode())}
        for kind, ending, media, text in files
    ]
    return {"table": table.rename(columns={"": "trial"}), "caption": title, "downloads": downloads}


def _data_uri(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def slug(text: str) -> str:
    """Turn a heading into a part of an address."""
    return re.sub(r"\W+", "-", text.lower()).strip("-")

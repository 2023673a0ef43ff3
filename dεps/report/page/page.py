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

from dεps.core.console import plural
from dεps.core.hashing import digest, md5
from dεps.core.tables import column, columns
from dεps.methods.registry import looks
from dεps.report import checklist, claims
from dεps.report.page import provenance
from dεps.report.page.highlights import certainty, highlights
from dεps.report.page.svg import inline, share_glyphs
from dεps.report.publishing.results import PublishedResults, is_published
from dεps.report.registry import FigureFile, figures, sections
from dεps.report.results import Results
from dεps.report.style import colours, label
from dεps.report.tables import (
    FIGURES,
    WORDS,
    caption,
    finetuned_caption,
    finetuned_table,
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
#: characters that an address within quotation marks may hold as they are
SAFE = "/:,;()[]=+*±.–−ετ°"
#: most experiments whose figures' PDF files the page holds, and whose cards and contents are open from the start
FEW = 3
#: characters of a cell that make its column a wide one
LONG = 32
TEMPLATE, STYLE_SHEET, SCRIPT = (FOLDER / name for name in ("index.html.j2", "page.css", "page.js"))


def render(
    experiments: Sequence[Results],
    folder: Path,
    planned: claims.Planned,
    published: Sequence[PublishedResults] = (),
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
    page = environment.get_template(TEMPLATE.name).render(
        sections=[
            _section(results, place / results.experiment, len(experiments) + len(published) <= FEW)
            for place, kind in ((folder, experiments), (figures, published))
            for results in kind
        ],
        **_claims([*published, *(one for one in experiments if not is_published(one, published))], planned),
        words=WORDS,
        others=[{"name": name, "file": f"experiments/{quote(name)}/results.md"} for name in sorted(others)],
        style=STYLE_SHEET.read_text("utf-8"),
        script=SCRIPT.read_text("utf-8"),
        swatches={name(method): colour for method, colour in swatches.items() for name in (label, marked)},
        few=len(experiments) + len(published) <= FEW,
        claims_digest=digest({name: md5(path) for name, path in claims.files().items()}),
    )
    return share_glyphs(page)


def _claims(experiments: Sequence[Results], planned: claims.Planned) -> dict[str, Any]:
    """What the page says of claims: `claims`, of the experiments with most seeds; `fewer`, of others; in short.

    Downloads are of all. Verdict beside claim; commands open at a click: one is as long as all else in its row.
    """
    found = claims.rows(experiments, planned)
    most = claims.with_most_seeds(found)
    kept = set(map(id, most))
    fewer = [row for row in found if id(row) not in kept]

    def of(rows: Sequence[claims.Row]) -> dict[str, Any]:
        order = ["claim", "verdict", "measured", "in the paper", "experiment", "test images", "paper", "tested by"]
        return _table(_together(rows, order), claims.caption(found), "claims", folded=("tested by",))

    shown = of(most) | {"downloads": of(found)["downloads"]}
    return {"claims": shown, "fewer": of(fewer) if fewer else None, "claims_in_short": claims.in_short(found)}


def _together(rows: Sequence[claims.Row], order: Sequence[str]) -> pd.DataFrame:
    """The table of claims, where what several experiments say alike is one row, as of published ones."""
    frame = claims.table(rows)
    same = [name for name in frame.columns if name not in ("experiment", "tested by")]
    grouped = frame.groupby(same, sort=False)
    return columns(grouped.agg({"experiment": "; ".join, "tested by": "first"}).reset_index(), *order)


def _section(results: Results, folder: Path, whole: bool) -> dict[str, Any]:
    name, hashed = results.slug, ["highlights", "results", *(["study"] if results.has_study else [])]
    # Which DVC hashes by folder.
    there = [*hashed, *(one for one in ("models", "finetuned") if len(getattr(results, one)))]
    return {
        "name": name,
        "origins": {one: provenance.origin_of_table(results, one) for one in there},
        "title": results.title,
        "experiment": results.experiment,
        "origin": results.origin,
        "facts": _facts(results),
        "highlights": highlights(results),
        "certainty": certainty(results),
        "results": _table(summary(results), caption(results), f"{name}-results"),
        "study": _table(study_table(results), study_caption(results), f"{name}-study") if results.has_study else None,
        "models": _table(models_table(results), models_caption(results), f"{name}-models")
        if len(results.models)
        else None,
        "finetuned": _table(finetuned_table(results), finetuned_caption(results), f"{name}-finetuned")
        if len(results.finetuned)
        else None,
        "checklist": _table(checklist.checklist(results), checklist.caption(results), f"{name}-checklist"),
        "groups": [_group(results, heading, found, folder, whole) for heading, found in sections(results).items()],
        "runs": provenance.runs(results),
        "files": provenance.all_sources(results, figures(results), hashed),
        "data": provenance.data_digest(results),
        "images": results.manifest["sha256"],
        "params": yaml.safe_dump(provenance.determinants(results), sort_keys=False, allow_unicode=True),
    }


def _facts(results: Results) -> str:
    """What a glance needs to know of the data, the space and the runs."""
    data, space = results.manifest["name"], results.params["space"]["name"]
    runs = f"{plural(len(results.methods), 'method')}, {plural(len(results.seeds), 'seed')}"
    return f"{data}, {space}; {runs}; {results.manifest['images']['test']:,} test images"


def _group(results: Results, heading: str, found: Sequence[FigureFile], folder: Path, whole: bool) -> dict[str, Any]:
    name, others = results.slug, other_archs(results)
    shown = [
        {
            "id": f"{name}-{figure.name}",
            "about": figure.about,
            "note": figure.about.note + (f" {others}." if figure.about.compares_points and others else ""),
            "svg": inline(folder / f"{figure.name}.svg", f"{name}-{figure.name}"),
            "file": f"{folder.parent.name}/{results.experiment}/{figure.name}",
            "points": _points(folder / f"{figure.name}.csv"),
            "pdf": _data_uri("application/pdf", (folder / f"{figure.name}.pdf").read_bytes()) if whole else "",
            "origin": provenance.origin(results, figure),
        }
        for figure in found
    ]
    return {"id": f"{name}-{slug(heading)}", "heading": heading, "figures": shown}


def _table(table: pd.DataFrame, title: str, name: str, folded: Sequence[str] = ()) -> dict[str, Any]:
    """A table, its caption, and its downloads as CSV, LaTeX and Markdown, as links that hold their content.

    Cells of `folded` columns open at a click. Columns of words wrap and begin at the left; numbers end at the right.
    """
    files = [
        ("CSV", "csv", "text/csv", table.to_csv(index=False)),
        ("LaTeX", "tex", "application/x-tex", latex(table, title)),
        ("Markdown", "md", "text/markdown", markdown(table, title)),
    ]
    downloads = [
        {"kind": kind, "name": f"{name}.{ending}", "uri": _data_uri(f"{media};charset=utf-8", text.encode())}
        for kind, ending, media, text in files
    ]
    shown = table.rename(columns={"": "option"})
    kinds = ["folded" if one in folded else _kind(column(shown, one)) for one in shown.columns]
    return {"table": shown, "kinds": kinds, "caption": title, "downloads": downloads}


def _kind(values: pd.Series) -> str:
    """How a column is set: `long` words wrap in a wide column, `words` in a narrow one, numbers not at all."""
    texts = [str(value) for value in values]
    if max(map(len, texts), default=0) > LONG:
        return "long"
    return "number" if all(re.match(r"[-+−±–\d]|$", text) for text in texts) else "words"


def _points(path: Path) -> str:
    """The table of a figure's dots as a link that holds it; empty where the figure has named none."""
    return f"data:text/csv;charset=utf-8,{quote(path.read_text('utf-8'), safe=SAFE)}" if path.exists() else ""


def _data_uri(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def slug(text: str) -> str:
    """Turn a heading into a part of an address."""
    return re.sub(r"\W+", "-", text.lower()).strip("-")

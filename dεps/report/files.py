"""Writes the report's files of one experiment: each figure as SVG, PDF and PNG, tables as Markdown and LaTeX."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from dεps.report import claims, marks
from dεps.report.checklist import caption as checklist_caption
from dεps.report.checklist import checklist
from dεps.report.registry import figures
from dεps.report.results import Results
from dεps.report.style import STYLE
from dεps.report.tables import (
    caption,
    finetuned_caption,
    finetuned_table,
    latex,
    markdown,
    models_caption,
    models_table,
    study_caption,
    study_table,
    summary,
)

#: endings of a figure's files, with what must not be written into them
FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


def write_files(results: Results, out: Path) -> None:
    """Write each figure as SVG, PDF and PNG and its dots as CSV, and the tables as Markdown and LaTeX."""
    with plt.style.context(STYLE):
        for figure in figures(results):
            drawn = figure.draw(results)
            marks.name_legends(drawn)
            for _ in range(2):  # room for labels changes ticks, and ticks the room
                drawn.draw_without_rendering()
            drawn.set_layout_engine("none")  # it is laid out, once for all formats
            for ending, metadata in FORMATS.items():
                drawn.savefig(out / f"{figure.name}.{ending}", metadata=metadata)
            if len(points := marks.table(drawn)):
                points.to_csv(out / f"{figure.name}.csv", index=False)
    table, title = summary(results), caption(results)
    (out / "results.md").write_text(markdown(table, title), "utf-8")
    (out / "results.tex").write_text(latex(table, title), "utf-8")
    if tested := claims.tested(results):
        (out / "claims.md").write_text(markdown(claims.short_table(tested), claims.caption(tested)), "utf-8")
    (out / "checklist.md").write_text(markdown(checklist(results), f"{checklist_caption(results)}."), "utf-8")
    if len(results.models):
        (out / "models.md").write_text(markdown(models_table(results), models_caption(results)), "utf-8")
    if len(results.finetuned):
        (out / "finetuned.md").write_text(markdown(finetuned_table(results), finetuned_caption(results)), "utf-8")
    if results.has_study:
        (out / "study.md").write_text(markdown(study_table(results), study_caption(results)), "utf-8")

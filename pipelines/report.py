"""Stage `report`: figures and tables of every selected experiment, and the page."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from dεps.config import read_params
from dεps.errors import UserError
from dεps.files import output_folder, write_atomic
from dεps.reporting.kinds import kinds
from dεps.reporting.page import render
from dεps.reporting.results import Results, all_results
from dεps.reporting.style import STYLE
from dεps.reporting.tables import PAGE, caption, latex, markdown, study_caption, study_table, summary
from dεps.stage import STATE, guarded

FOLDER = Path("reports/experiments")
#: endings of a figure's files, with what must not be written into them
FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


def write_experiment(results: Results, out: Path) -> None:
    """Each figure as SVG, PDF and PNG, and the table as Markdown and LaTeX."""
    out.mkdir()
    with plt.style.context(STYLE):
        for kind in kinds(results):
            figure = kind.draw(results)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # it is laid out, once for all formats
            for ending, metadata in FORMATS.items():
                figure.savefig(out / f"{kind.name}.{ending}", metadata=metadata)
    table, title = summary(results), caption(results)
    (out / "results.md").write_text(markdown(table, title), "utf-8")
    (out / "results.tex").write_text(latex(table, title), "utf-8")
    if results.has_study:
        (out / "study.md").write_text(markdown(study_table(results), study_caption(results)), "utf-8")


def main() -> None:
    """Write `reports/experiments/` and `reports/index.html`."""
    experiments = all_results(read_params())
    if not experiments:
        raise UserError("names is empty; expected at least one experiment")
    with output_folder(FOLDER, STATE / "scratch") as folder:
        for results in experiments:
            write_experiment(results, folder / results.experiment)
        page = render(experiments, folder)
    write_atomic(PAGE, page)
    print(f"report: {PAGE}")


if __name__ == "__main__":
    guarded(main)

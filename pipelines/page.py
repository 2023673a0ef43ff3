"""Stage `page`: figures of published experiments, and `reports/index.html` over them and the selected ones.

Reports of other experiments are only linked.
"""

from __future__ import annotations

from dεps.core.console import say
from dεps.core.files import output_folder, write_atomic
from dεps.core.params import read_params
from dεps.core.process import guarded
from dεps.planning.claims import training_cost
from dεps.report.files import write_files
from dεps.report.page.page import render
from dεps.report.publishing.results import published_results
from dεps.report.results import all_results
from dεps.report.tables import EXPERIMENTS, FIGURES, PAGE
from dεps.workspace.locks import STATE


def main() -> None:
    """Draw what is published, then write the page with that and with the figures that stage `report` has drawn."""
    selected, published = all_results(read_params()), published_results()
    with output_folder(FIGURES, STATE / "scratch" / "page") as out:
        (out / "README.md").write_text("Drawn by stage `page` of the rows in `reports/published`.\n", "utf-8")
        for results in published:
            (out / results.experiment).mkdir()
            write_files(results, out / results.experiment)
    write_atomic(PAGE, render(selected, EXPERIMENTS, training_cost, published, FIGURES))
    say(f"report: {PAGE}")


if __name__ == "__main__":
    guarded(main)

"""Stage `page`: `reports/index.html` over the selected experiments, with links to reports of others."""

from __future__ import annotations

from dεps.core.console import say
from dεps.core.files import write_atomic
from dεps.core.params import read_params
from dεps.core.process import guarded
from dεps.report.page.page import render
from dεps.report.results import all_results
from dεps.report.tables import EXPERIMENTS, PAGE


def main() -> None:
    """Write the page from results, and from the figures that stage `report` has drawn of them."""
    write_atomic(PAGE, render(all_results(read_params()), EXPERIMENTS))
    say(f"report: {PAGE}")


if __name__ == "__main__":
    guarded(main)

"""Stage `report`: figures and tables of one experiment. Those of experiments that are not selected stay as they are."""

from __future__ import annotations

from pathlib import Path

from dεps.report.files import write_files
from dεps.report.numbers import write_numbers
from dεps.report.results import results_of
from dεps.report.tables import EXPERIMENTS
from dεps.workspace.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write figures and tables from the experiment's results."""
    results = results_of(context.params, context.experiment)
    write_files(results, out)
    write_numbers(results, out)


if __name__ == "__main__":
    run("report", work, out=lambda context: EXPERIMENTS / context.experiment)

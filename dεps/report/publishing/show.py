"""Prints rows of a published experiment."""

from __future__ import annotations

import pandas as pd

from dεps.core.console import plural, say, show_table
from dεps.core.tables import records
from dεps.deploy.export.config import macs_text
from dεps.report.publishing.benchmark import Benchmark
from dεps.report.style import label


def print_archs(benchmark: Benchmark, rows: pd.DataFrame, limit: int) -> None:
    """Print one line a method and arch, mean ± a sample's standard deviation over seeds, `limit` of them at most."""
    found = benchmark.over_seeds(rows)
    if found.empty:
        say("no row fits")
        return
    lines = [
        [
            label(row["method"]),
            row["name"] if isinstance(row["name"], str) else row["arch"],
            macs_text(row["macs"]),
            f"{row['params']:,.0f}",
            *(_spread(row[name], row[f"{name}_std"]) for name in ("val_top1", "test_top1")),
            str(row["seeds"]),
        ]
        for row in records(found.head(limit))
    ]
    left, right = {"justify": "left"}, {"justify": "right"}
    columns = {"method": left, "arch": {**left, "overflow": "fold"}, "MACs": right, "parameters": right}
    columns |= {"validation (%)": right, "test (%)": right, "seeds": right}
    caption = f"{benchmark.experiment}: {benchmark.data['name']}, {benchmark.space.name}, top-1"
    more = len(found) - len(lines)
    show_table(lines, columns, caption + (f"; {plural(more, 'row')} more: --limit, or --csv" if more else ""))


def _spread(mean: float, std: float) -> str:
    if pd.isna(mean):
        return "–"
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ± {std:.2f}"

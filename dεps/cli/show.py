"""`deps show --json`: the results behind the tables, in full precision, for scripts."""

from __future__ import annotations

import json
from typing import Any

from dεps.report.results import Results, all_results


def to_json(params: dict[str, Any]) -> str:
    """Every selected experiment of `params` as one JSON object.

    By experiment: `dataset`, `space`, `seeds`, `test_images`; `methods` with the metrics of each seed; `reference`;
    `standalone`, a row an arch and seed. Raises `UserError` where results are missing.
    """
    return json.dumps({"experiments": {one.experiment: _results(one) for one in all_results(params)}}, indent=1)


def _results(results: Results) -> dict[str, Any]:
    rows = json.loads(results.metrics.to_json(orient="records", double_precision=15))
    methods: dict[str, dict[str, Any]] = {method: {} for method in results.methods}
    for row in rows:
        methods[row.pop("method")][str(row.pop("seed"))] = row
    return {
        "dataset": results.manifest["name"],
        "space": results.params["space"]["name"],
        "seeds": results.seeds,
        "test_images": results.manifest["images"]["test"],
        "methods": methods,
        "reference": results.reference,
        "standalone": json.loads(results.standalone.to_json(orient="records", double_precision=15)),
    }

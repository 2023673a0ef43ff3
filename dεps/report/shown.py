"""Prints the report as text: tables of results, searched archs and the study, each with what its words mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pandas as pd

from dεps.core.console import say, show_table
from dεps.core.params import read_params
from dεps.core.tables import columns, rows_where
from dεps.deploy.export.config import macs_text
from dεps.report.publishing.results import published_results
from dεps.report.results import Results, all_results, to_json
from dεps.report.style import label
from dεps.report.tables import (
    PAGE,
    WORDS,
    caption,
    finetuned_caption,
    finetuned_table,
    study_caption,
    study_table,
    summary,
)


def shown_results() -> list[Results]:
    """Every published experiment, then every selected one that has run; all selected ones where none has."""
    published, selected = published_results(), all_results(read_params())
    here = [results for results in selected if results.folder.exists()]
    return [*published, *here] if published or here else selected


def print_results() -> None:
    """Print the table of every experiment, and the path of the page."""
    for results in shown_results():
        frame = summary(results)
        _print(frame, caption(results), left=("method",))
        if len(results.finetuned):
            _print(finetuned_table(results), finetuned_caption(results), left=("method", "budget"))
    explain("mean Pareto top-1", "TMACs", "τ")
    _say_what_has_not_run()
    say(f"report: {PAGE}")


def results_json() -> str:
    """The numbers of `print_results` as JSON, by the titles of its tables."""
    return to_json(shown_results())


def print_archs() -> None:
    """Print the archs that search found for every experiment, by method and MACs."""
    for results in shown_results():
        found = searched(results)
        found = found.assign(method=found.method.map(label), macs=found.macs.map(macs_text))
        found = found.assign(**{name: found[name].map("{:.2f}".format) for name in ("predicted", "measured")})
        found["params"] = found.params.map("{:,.0f}".format)
        if len(results.seeds) == 1:
            found = found.drop(columns="seed")
        headings = {"macs": "MACs", "params": "parameters", "predicted": "predicted (%)", "measured": "measured (%)"}
        text = (
            f"{results.title}: archs that search found and measured, top-1 on validation, by which they "
            "were chosen: what is measured is a little too good"
        )
        _print(found.rename(columns=headings), text, left=("method", "arch"))
    explain("k5e2-k3e3_k5e2_r28")


def print_study() -> None:
    """Print the default and the best trial of the study of every experiment that has one."""
    studied = [results for results in shown_results() if results.has_study]
    for results in studied:
        sides = study_table(results).rename(columns={"": "option or number"})
        _print(sides, study_caption(results), left=("option or number",))
    if studied:
        explain("mean Pareto top-1", "TMACs")
    else:
        say("no experiment that is published or has run here has a study; 'dvc repro tune' makes it")
    _say_what_has_not_run()


def _say_what_has_not_run() -> None:
    """Name selected experiments of which there are no results here, as in a new clone."""
    for results in all_results(read_params()):
        if not results.folder.exists():
            say(f"{results.experiment} is selected and has not run here; 'dvc repro' runs it, or 'dvc pull' brings it")


def searched(results: Results) -> pd.DataFrame:
    """One row a searched arch that was measured: method, seed, macs, params, predicted, measured (percent), arch."""
    found = rows_where(results.searched, results.searched.measured.notna())
    found = columns(found, "method", "seed", "macs", "params", "predicted", "measured", "arch")
    place = {method: number for number, method in enumerate(results.methods)}
    return found.sort_values(
        ["method", "seed", "macs"], key=lambda own: own.map(place) if own.name == "method" else own
    )


def archs_json() -> str:
    """What `print_archs` prints as a JSON object: a list of rows by experiment."""
    return _json("archs", searched, shown_results())


def study_json() -> str:
    """The trials of every study as a JSON object: a list of rows by experiment."""
    studied = [results for results in shown_results() if results.has_study]
    return _json("study", lambda results: results.trials, studied)


def _json(what: str, table: Callable[[Results], pd.DataFrame], found: Sequence[Results]) -> str:
    rows = {one.title: json.loads(str(table(one).to_json(orient="records", double_precision=15))) for one in found}
    return json.dumps({what: rows}, indent=1, ensure_ascii=False)


def explain(*words: str) -> None:
    """Print a line a word that says what it means."""
    for word in words:
        say(f"{word}: {WORDS[word]}")


def _print(frame: pd.DataFrame, text: str, left: Sequence[str]) -> None:
    options = {name: {"justify": "left" if name in left else "right", "overflow": "fold"} for name in frame.columns}
    show_table([list(map(str, row)) for row in frame.to_numpy().tolist()], options, text)

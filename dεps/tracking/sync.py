"""Brings the MLflow store up to date from files; may be repeated, and never writes anything twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from dεps.core.console import say, warn
from dεps.core.params import selected
from dεps.tracking import place
from dεps.tracking.address import masked, reason, tracking_uri
from dεps.tracking.notes import describe_experiment
from dεps.tracking.registry import sync_models
from dεps.tracking.runs import TRAIN, pass_on, sync_results
from dεps.tracking.store import FAILURES, Session, Store
from dεps.tracking.studies import sync_studies
from dεps.tracking.today import Today
from dεps.workspace.identity import FINETUNE, FULL_MODEL, STANDALONE
from dεps.workspace.outputs import HISTORY
from dεps.workspace.stage import Context

#: seconds to wait for another process that writes to the store
TURN = 60.0


def sync(params: dict[str, Any], store: Store | None = None) -> tuple[int, int]:
    """Bring all runs that `params` selects and that have results into the store; returns (runs, changed runs).

    Results of other params are left out, in a line that names them.
    """
    store = store or Store()
    runs, changed, today = 0, 0, Today(params)
    newest: dict[str, str] = {}
    for context in instances(params):
        if (context.folder(context.stage) / HISTORY).exists():
            run_id, new = sync_results(store, context, today)
            if run_id is not None:
                newest[context.experiment], runs, changed = run_id, runs + 1, changed + new
    store.drop_default()
    for name, run_id in newest.items():
        describe_experiment(store, params, name, run_id)
    studies, new = sync_studies(params, store, today)
    changed += new + sync_models(params, store, today) + pass_on(store, place.works(), params["names"])
    today.warn()
    return runs + studies, changed


def instances(params: dict[str, Any]) -> Iterator[Context]:
    """Yield every training that `params` selects: full model, archs alone, methods and fine-tuned subnets, by seed."""
    keys = ("names", "methods", "standalone", "finetuned", "seeds")
    names, methods, alone, budgets, seeds = (selected(params, key) for key in keys)
    kinds = [(FULL_MODEL, None, None, None), *((STANDALONE, None, arch, None) for arch in alone)]
    kinds += [(TRAIN, method, None, None) for method in methods]
    kinds += [(FINETUNE, method, None, budget) for method in methods for budget in budgets]
    for experiment, (stage, method, arch, budget), seed in itertools.product(names, kinds, seeds):
        yield Context(stage, experiment, method, seed, params, arch, budget)


def track(params: dict[str, Any], uri: str | None = None) -> bool:
    """Call `sync` and say what was done; warn and return False if the store cannot be used or falls silent."""
    list(instances(params))  # wrong params are an error, before a store is created
    uri = uri or tracking_uri()
    try:
        runs, changed = Session(uri).do(lambda store: sync(params, store), TURN)
    except FAILURES as error:
        warn(f"MLflow was not brought up to date ({reason(error, uri)}); 'deps track' tries again")
        return False
    say(f"track: {runs} runs in {masked(uri, uri)}, {changed} new or changed")
    return True

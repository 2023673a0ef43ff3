"""Stage `predict`: chooses an accuracy predictor by cross-validation, and fits it to all measured archs.

What chooses and what is fitted sees validation only. Accuracies on test are read for one number that is reported, the
ceiling: how well one measurement of the archs orders what another has measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dεps.core.console import say
from dεps.core.device import set_up
from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.search.crossvalidation import agreement, cross_validate, taus_by_fold
from dεps.search.predictor import PredictConfig, fit, save_predictor
from dεps.spaces.encoding import encode_genomes
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.outputs import METRICS, PREDICTIONS, PREDICTOR, SUPERNET
from dεps.workspace.stage import Context, run
from dεps.workspace.tables import check_weights, read_table


def _measured(path: Path, space: SearchSpace) -> pd.DataFrame:
    """Archs that stage `evaluate` has measured. Raises `UserError` naming the file that holds anything else."""
    table = read_table(path, ["macs", "val_top1", "test_top1"], ["arch"])
    for text in table.arch:
        if not space.writes(text):
            raise UserError(f"{path} holds {text!r}, no arch of the space {space.name}; run the stage 'evaluate' again")
    return table


def work(context: Context, out: Path) -> None:
    """Write `predictor.safetensors`, `predictions.csv` (each arch by what has not seen it) and `metrics.json`."""
    set_up()
    config, space = context.section(PredictConfig, "predict"), context.section(SearchSpace, "space")
    tables = [_measured(context.folder("evaluate") / f"{name}.csv", space) for name in ("population", "pareto")]
    for own in tables:
        check_weights(own, context.folder("evaluate"), context.folder("train") / SUPERNET)
    table = pd.concat(tables).drop_duplicates("arch").reset_index(drop=True)
    if len(table) < 2 * config.folds:
        raise UserError(
            f"predict.folds is {config.folds}; expected at most {len(table) // 2}, for 2 of the {len(table)} measured "
            "archs a fold"
        )
    codes = encode_genomes(space, np.array([space.to_genome(Arch.parse(arch)) for arch in table.arch]))
    accuracy = table.val_top1.to_numpy() / 100
    found = cross_validate(codes, accuracy, config, context.the_seed)
    model, stamp = fit(found.chosen, codes, accuracy, config, context.the_seed), ""
    if "weights" in table:
        stamp = str(table.weights.iloc[0])
    save_predictor(model, out / PREDICTOR, space, config, stamp)
    predicted, taus = found.of_the_choice()
    rows = {"arch": table.arch, "macs": table.macs, "fold": found.fold, "measured": accuracy * 100}
    rows |= {"predicted": predicted * 100} | {name: values * 100 for name, values in found.predicted.items()}
    PREDICTIONS.write(pd.DataFrame(rows), out)
    both = agreement(predicted, accuracy)
    metrics = _spread("kendall_tau", taus) | {f"predictor/{key}": both[key] for key in ("spearman", "rmse_points")}
    metrics |= _spread("macs_kendall_tau", taus_by_fold(table.macs.to_numpy(), accuracy, found.fold))
    metrics |= _spread("ceiling_kendall_tau", taus_by_fold(table.test_top1.to_numpy(), accuracy, found.fold))
    for name, values in found.predicted.items():
        metrics |= _spread(f"{name}_kendall_tau", found.taus[name])
        metrics[f"predictor/{name}_rmse_points"] = agreement(values, accuracy)["rmse_points"]
        metrics[f"predictor/{name}_chosen"] = int(name == found.chosen)
    write_json(out / METRICS, {**metrics, "predictor/archs": len(table), "predictor/folds": config.folds})
    say(
        f"{context.label}: {found.chosen.replace('_', ' ')}; Kendall τ {taus.mean():.2f} ± {taus.std(ddof=1):.2f} over "
        f"{config.folds} folds of {len(table)} archs, MACs alone {metrics['predictor/macs_kendall_tau']:.2f}, "
        f"ceiling {metrics['predictor/ceiling_kendall_tau']:.2f}"
    )


def _spread(name: str, taus: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation over folds."""
    return {f"predictor/{name}": round(taus.mean(), 4), f"predictor/{name}_std": round(taus.std(ddof=1), 4)}


if __name__ == "__main__":
    run("predict", work, ("experiment", "method", "seed"))

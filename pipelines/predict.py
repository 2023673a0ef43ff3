"""Stage `predict`: fits the accuracy predictor to measured archs and tests it on archs it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dεps.device import set_up
from dεps.errors import UserError
from dεps.files import write_json
from dεps.genomes import encode_genomes
from dεps.predictor import PredictConfig, agreement, fit, predict, predict_linear
from dεps.randomness import python_rng
from dεps.search_space import Arch, SearchSpace
from dεps.stage import Context, run
from dεps.tables import check_weights, read_table
from dεps.tensors import save_tensors


def _measured(path: Path, space: SearchSpace) -> pd.DataFrame:
    """Archs that stage `evaluate` has measured. Raises `UserError` naming the file that holds anything else."""
    table = read_table(path, ["macs", "val_top1"], ["arch"])
    for text in table.arch:
        if not space.writes(text):
            raise UserError(f"{path} holds {text!r}, no arch of the space {space.name}; run the stage 'evaluate' again")
    return table


def work(context: Context, out: Path) -> None:
    """Write `predictor.safetensors`, `predictions.csv` (the held-out archs) and `metrics.json`."""
    set_up()
    config, space = context.section(PredictConfig, "predict"), context.section(SearchSpace, "space")
    tables = [_measured(context.folder("evaluate") / f"{name}.csv", space) for name in ("population", "pareto")]
    for own in tables:
        check_weights(own, context.folder("evaluate"), context.folder("train") / "supernet.safetensors")
    table = pd.concat(tables).drop_duplicates("arch").reset_index(drop=True)
    codes = encode_genomes(space, np.array([space.to_genome(Arch.parse(arch)) for arch in table.arch]))
    accuracy = table.val_top1.to_numpy() / 100
    order = list(range(len(table)))
    python_rng(context.seed, "predictor/held out").shuffle(order)
    cut = round(config.held_out * len(table))
    if not 2 <= cut <= len(table) - 2:
        raise UserError(
            f"predict.held_out leaves {cut} of {len(table)} measured archs; expected 2 or more on each side"
        )
    held, seen = sorted(order[:cut]), sorted(order[cut:])
    model = fit(codes[seen], accuracy[seen], config, context.seed)
    predicted, linear = predict(model, codes[held]), predict_linear(codes[seen], accuracy[seen], codes[held])
    save_tensors(model.state_dict(), out / "predictor.safetensors")
    rows = {"arch": table.arch[held], "macs": table.macs[held], "measured": accuracy[held] * 100}
    rows |= {"predicted": predicted * 100, "linear": linear * 100}
    pd.DataFrame(rows).to_csv(out / "predictions.csv", index=False, float_format="%.4f")
    metrics = {f"predictor/{key}": value for key, value in agreement(predicted, accuracy[held]).items()}
    metrics |= {f"predictor/linear_{key}": value for key, value in agreement(linear, accuracy[held]).items()}
    write_json(out / "metrics.json", {**metrics, "predictor/archs_seen": len(seen), "predictor/archs_held_out": cut})
    print(
        f"{context.label}: Kendall τ {metrics['predictor/kendall_tau']:.2f} on {cut} held-out archs, "
        f"linear {metrics['predictor/linear_kendall_tau']:.2f}"
    )


if __name__ == "__main__":
    run("predict", work, ("experiment", "method", "seed"))

"""`deps params`: compose the Hydra groups in `params/` into `params.yaml`, and check all of it.

`dvc exp run` composes here too (`.dvc/plugins`), and stage `check` sees what somebody wrote into the file by hand.
Every section is checked against the dataclass of the module that uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from dεps.core.errors import UserError
from dεps.core.files import write_atomic
from dεps.core.params import PARAMS, SELECTION, check_names, section, selected
from dεps.core.schema import check_plain, structured
from dεps.data.config import DatasetConfig
from dεps.deploy.export.config import ExportConfig
from dεps.evaluation.accuracy import EvaluateConfig
from dεps.evaluation.baseline import ReferenceConfig
from dεps.methods import registry
from dεps.search.nsga2 import SearchConfig
from dεps.search.predictor import PredictConfig
from dεps.sources.registry import source_of
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch, SearchSpace
from dεps.training.loop import LONGEST, TrainConfig
from dεps.training.trunk import FullModelConfig
from dεps.tuning.config import TuningConfig
from dεps.workspace.identity import FULL_MODEL, STANDALONE
from dεps.workspace.presets import check_selection, unchecked
from dεps.workspace.resume import CheckpointConfig

SCHEMAS: dict[str, type] = {
    "dataset": DatasetConfig,
    "space": SearchSpace,
    "train": TrainConfig,
    "full_model": FullModelConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "search": SearchConfig,
    "export": ExportConfig,
    "reference": ReferenceConfig,
}
TOP_LEVEL = ("experiments", "names", "methods", "standalone", "seeds", "launch", "checkpoint")


def compose_params(overrides: Sequence[str], config_dir: Path | None = None, out: Path = PARAMS) -> dict[str, Any]:
    """Compose, check, and write `out`; nothing is written when anything is wrong. Raises `UserError`."""
    params, text = composed(overrides, config_dir)
    write_atomic(out, text)
    return params


def composed(overrides: Sequence[str], config_dir: Path | None = None) -> tuple[dict[str, Any], str]:
    """Compose and check in memory: the params, and the text of their file. Raises `UserError`.

    `+from=FILE` stands for the values in a YAML file, such as a study's `best.yaml`; other overrides take precedence.
    """
    params, text = unchecked(overrides, config_dir)
    check_params(params)
    return params, text


def check_params(params: dict[str, Any]) -> None:
    """Check a whole `params.yaml`. Raises `UserError` naming the key and what is allowed."""
    check_plain(params, f"{PARAMS}:")
    for key in params:
        if key not in TOP_LEVEL:
            raise UserError(f"{key} is no known key; allowed: {', '.join(TOP_LEVEL)}")
    check_names(section(params, "experiments"), "experiments")
    for key in SELECTION:
        selected(params, key)
    if not isinstance(params.get("launch"), str) or not params["launch"].strip():
        raise UserError(f"launch is {params.get('launch')!r}; expected a command, python or torchrun with its options")
    structured(CheckpointConfig, params.get("checkpoint", {}), "checkpoint")
    check_selection(params)
    for name in params["names"]:
        _check_experiment(params, name)
    _check_instances(params)


def _check_instances(params: dict[str, Any]) -> None:
    """DVC joins experiment, method and seed by dashes: of two instances of one name it would run the last only."""
    for key in ("methods", "standalone"):
        joined = Counter("-".join(pair) for pair in product(params["names"], params[key]))
        if both := [name for name, count in joined.items() if count > 1]:
            raise UserError(f"names and {key} make '{both[0]}' in two ways; rename an experiment, or one of {key}")


def _check_experiment(params: dict[str, Any], name: str) -> None:
    where = f"experiments.{name}"
    experiment = section(params, "experiments", name)
    for key in experiment:
        if key not in (*SCHEMAS, "methods", "tuning"):
            raise UserError(f"{where}.{key} is no known key; allowed: {', '.join((*SCHEMAS, 'methods', 'tuning'))}")
    checked = {
        key: structured(schema, section(params, "experiments", name, key), f"{where}.{key}")
        for key, schema in SCHEMAS.items()
    }
    source_of(checked["dataset"], f"{where}.dataset")
    size = checked["dataset"].image_size
    if checked["space"].resolution[-1] != size:
        there = checked["space"].resolution
        raise UserError(f"{where}.space.resolution is {there}; its largest must be dataset.image_size, {size}")
    checked["train"].augment.check_images(f"{where}.train.augment", size, checked["dataset"].channels)
    archs: dict[Arch, str] = {}
    for text in params["standalone"]:
        arch = checked["space"].named(text, f"standalone, in experiment {name},")
        if archs.setdefault(arch, text) != text:
            raise UserError(f"standalone holds {archs[arch]} and {text}, the same arch in experiment {name}; keep one")
    methods = section(params, "experiments", name, "methods")
    check_names(methods, f"{where}.methods")
    if FULL_MODEL in methods:
        raise UserError(f"{where}.methods.{FULL_MODEL}: the name is taken by the trunk; choose another")
    for method in methods:
        if method.startswith(f"{STANDALONE}-"):
            raise UserError(f"{where}.methods.{method}: such names are taken by archs trained alone; choose another")
    for method in params["methods"]:
        if method not in methods:
            there = f"there is no 'experiments.{name}.methods.{method}'; there is: {', '.join(methods)}"
            raise UserError(f"methods holds {method!r}, but {there}")
    for method in methods:
        registry.options(section(params, "experiments", name, "methods", method), f"{where}.methods.{method}")
    _check_methods(params, name, checked["train"], checked["space"], checked["dataset"].channels)
    tuning = structured(TuningConfig, section(params, "experiments", name, "tuning"), f"{where}.tuning")
    tuning.check_trunk(f"{where}.tuning", checked["train"].epochs, checked["full_model"])
    if tuning.seed != params["seeds"][0]:
        raise UserError(f"{where}.tuning.seed is {tuning.seed}; expected {params['seeds'][0]}, the first of seeds")


def _check_methods(params: dict[str, Any], name: str, train: TrainConfig, space: SearchSpace, channels: int) -> None:
    """Build each selected method for an epoch of one step: what fits each key alone may not fit together."""
    where, setup = f"experiments.{name}", train.setup_for(space, train.batch_size)
    for method in params["methods"]:
        own = section(params, "experiments", name, "methods", method)
        built = registry.build(own, f"{where}.methods.{method}", setup)
        epochs = built.phases()[-1].end
        if epochs > LONGEST:
            raise UserError(f"{where}.methods.{method} trains for {epochs} epochs; expected at most {LONGEST}")
        points = built.space.pareto_archs().values()
        if len({arch_cost(space, arch, 2, channels).macs for arch in points}) < 2:
            raise UserError(f"{where}.space.stages offer {method} one Pareto point only; expected a choice of depths")

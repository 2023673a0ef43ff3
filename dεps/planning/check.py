"""`deps params`: compose the Hydra groups in `params/` into `params.yaml`, and check all of it.

`dvc exp run` composes here too (`.dvc/plugins`), and stage `check` sees what somebody wrote into the file by hand.
Every section is checked against the schema in the module that uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from pydantic import AfterValidator, PlainValidator, ValidationInfo, WithJsonSchema

from dεps.core.errors import UserError, check_choice
from dεps.core.files import write_atomic
from dεps.core.given import given_sha256
from dεps.core.params import PARAMS, Archs, Budgets, Methods, Names, Seeds, check_names, section
from dεps.core.schema import check_plain, checked, structured
from dεps.data.config import DatasetConfig
from dεps.deploy.export.config import ExportConfig
from dεps.evaluation.accuracy import EvaluateConfig
from dεps.evaluation.baseline import ReferenceConfig
from dεps.methods import registry
from dεps.methods.finetune import FineTuneConfig
from dεps.search.latency.table import TABLE, given_table, latency_of_archs
from dεps.search.nsga2 import SearchConfig
from dεps.search.predictor import PredictConfig
from dεps.sources.registry import source_of
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch, SearchSpace
from dεps.training.config import INIT, LONGEST, FullModelConfig, TrainConfig
from dεps.tuning.config import TuningConfig
from dεps.workspace.decides import STAGES
from dεps.workspace.identity import FULL_MODEL, STANDALONE
from dεps.workspace.presets import check_selection, unchecked
from dεps.workspace.project import groups
from dεps.workspace.resume import CheckpointConfig


def _space(data: Any, info: ValidationInfo) -> SearchSpace:
    return structured(SearchSpace, data, f"{info.context}.space")


@checked
class Experiment:
    """One experiment of `params.yaml`, by sections; methods' options are read by the methods."""

    dataset: DatasetConfig
    space: Annotated[SearchSpace, PlainValidator(_space), WithJsonSchema({"type": "object"})]
    train: TrainConfig
    full_model: FullModelConfig
    evaluate: EvaluateConfig
    predict: PredictConfig
    search: SearchConfig
    export: ExportConfig
    finetune: FineTuneConfig
    reference: ReferenceConfig
    methods: dict[str, dict[str, Any]]
    tuning: dict[str, Any]


def _command(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a command, python or torchrun with its options")
    return text


@checked
class Selection:
    """The top level of `params.yaml`: what is run, and how."""

    #: names of those that there are; what is not selected need not be complete
    experiments: list[str]
    names: Names
    methods: Methods
    standalone: Archs
    finetuned: Budgets
    seeds: Seeds
    #: of a stage: command that its module is run with
    launch: Annotated[str, AfterValidator(_command)]
    checkpoint: dict[str, Any] = field(default_factory=dict)
    portable: bool = False


def compose_params(overrides: Sequence[str], config_dir: Path | None = None, out: Path = PARAMS) -> dict[str, Any]:
    """Compose, check, and write `out`; nothing is written when anything is wrong. Raises `UserError`."""
    params, text = composed(overrides, config_dir)
    write_atomic(out, text)
    return params


def composed(overrides: Sequence[str], config_dir: Path | None = None) -> tuple[dict[str, Any], str]:
    """Compose and check in memory: the params, and the text of their file. Raises `UserError`.

    Where an experiment names a file, that file's hash is filled in: results are of its content, not of its name.
    `+from=FILE` stands for the values in a YAML file, such as a study's `best.yaml`; other overrides take precedence.
    """
    params, text = unchecked(overrides, config_dir)
    if _name_files(params):
        text = OmegaConf.to_yaml(OmegaConf.create(params))
    check_params(params)
    return params, text


#: keys of paths to files, by section of an experiment, and what the files are
_FILES = {"train": ("init", INIT), "search": ("latency", TABLE)}


def _name_files(params: dict[str, Any]) -> bool:
    """Fill in the hash beside each file that an experiment names; whether there was any to fill in.

    Raises `UserError` where a file can't be read.
    """
    found = False
    for name, (where, (key, what)) in product(params["names"], _FILES.items()):
        own = section(params, "experiments", name).get(where)
        if not isinstance(own, dict):
            continue
        file = own.get(key)
        if file not in (None, "???") and own.get(f"{key}_sha256") is None:
            own[f"{key}_sha256"] = given_sha256(str(file), f"experiments.{name}.{where}.{key}", what)
            found = True
    return found


def check_params(params: dict[str, Any]) -> None:
    """Check a whole `params.yaml`. Raises `UserError` naming the key and what is allowed."""
    check_plain(params, f"{PARAMS}:")
    experiments = section(params, "experiments")
    check_names(experiments, "experiments")
    structured(Selection, {**params, "experiments": list(experiments)}, "", as_written=True)
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
    runs = list(product(params["names"], params["methods"], params["finetuned"]))
    if both := [name for name, count in Counter(map("-".join, runs)).items() if count > 1]:
        raise UserError(f"names, methods and finetuned make '{both[0]}' in two ways; rename one of them")


def _check_experiment(params: dict[str, Any], name: str) -> None:
    where = f"experiments.{name}"
    _check_written(section(params, "experiments", name), where)
    own = structured(Experiment, section(params, "experiments", name), where)
    source_of(own.dataset, f"{where}.dataset")
    size = own.dataset.image_size
    if own.space.resolution[-1] != size:
        there = own.space.resolution
        raise UserError(f"{where}.space.resolution is {there}; its largest must be dataset.image_size, {size}")
    if params.get("portable") and own.train.operators == "native":
        raise UserError(
            f"{where}.train.operators is native, built for this processor; expected torch, or portable=false"
        )
    if own.train.init_file(f"{where}.train") and own.train.init_sha256 is None:
        raise UserError(f"{where}.train.init_sha256 is null, where init is a file; 'deps params' fills it in")
    if own.search.latency and own.search.latency_sha256 is None:
        raise UserError(f"{where}.search.latency_sha256 is null, where latency is a file; 'deps params' fills it in")
    table = given_table(own.search, own.space, own.dataset.class_count, own.dataset.channels, f"{where}.search")
    if table is not None:  # whether it has all layers, before anything is trained
        latency_of_archs(table, own.space, table.classes, table.channels)
    timed = next((budget.name for budget in own.export.budgets if budget.max_ms is not None), None)
    if timed and own.search.latency is None:
        raise UserError(
            f"{where}.export.budgets: {timed} has max_ms; expected {where}.search.latency too, a latency table"
        )
    own.train.augment.check_images(f"{where}.train.augment", size, own.dataset.channels)
    archs: dict[Arch, str] = {}
    for text in params["standalone"]:
        arch = own.space.named(text, f"standalone, in experiment {name},")
        if archs.setdefault(arch, text) != text:
            raise UserError(f"standalone holds {archs[arch]} and {text}, the same arch in experiment {name}; keep one")
    budgets = [budget.name for budget in own.export.budgets]
    for budget in params["finetuned"]:
        check_choice(budget, budgets, f"finetuned, in experiment {name},")
    check_names(own.methods, f"{where}.methods")
    if FULL_MODEL in own.methods:
        raise UserError(f"{where}.methods.{FULL_MODEL}: the name is taken by the trunk; choose another")
    for method in own.methods:
        if method.startswith(f"{STANDALONE}-"):
            raise UserError(f"{where}.methods.{method}: such names are taken by archs trained alone; choose another")
    for method in params["methods"]:
        if method not in own.methods:
            others = sorted({path.stem for path in (groups() / "method").glob("*.yaml")} - set(own.methods))
            there = f"there is no 'experiments.{name}.methods.{method}'; there is: {', '.join(own.methods)}"
            there += f"; and of params/method: {', '.join(others)}" if others else ""
            raise UserError(f"methods holds {method!r}, but {there}")
    for method, options in own.methods.items():
        registry.options(options, f"{where}.methods.{method}")
    _check_methods(own, params["methods"], where)
    tuning = structured(TuningConfig, own.tuning, f"{where}.tuning")
    tuning.check_trunk(f"{where}.tuning", own.train.epochs, own.full_model)
    if tuning.seed != params["seeds"][0]:
        raise UserError(f"{where}.tuning.seed is {tuning.seed}; expected {params['seeds'][0]}, the first of seeds")


def _check_written(own: dict[str, Any], where: str) -> None:
    """DVC names single keys, and refuses a stage, perhaps hours later, where an older file has not got one."""
    for stage in STAGES.values():
        for path in stage.sections:
            name, _, key = path.partition(".")
            if key and isinstance(own.get(name), dict) and key not in own[name]:
                raise UserError(f"{where}.{path} is missing; 'deps params' writes it")


def _check_methods(own: Experiment, selected: Sequence[str], where: str) -> None:
    """Build each selected method for an epoch of one step: what fits each key alone may not fit together."""
    setup = own.train.setup_for(own.space, own.train.batch_size)
    for method in selected:
        built = registry.build(own.methods[method], f"{where}.methods.{method}", setup)
        epochs = built.phases()[-1].end
        if epochs > LONGEST:
            raise UserError(f"{where}.methods.{method} trains for {epochs} epochs; expected at most {LONGEST}")
        points = built.space.pareto_archs().values()
        if len({arch_cost(own.space, arch, 2, own.dataset.channels).macs for arch in points}) < 2:
            raise UserError(f"{where}.space.stages offer {method} one Pareto point only; expected a choice of depths")

"""`deps params`: compose the Hydra groups in `params/` into `params.yaml`, and check all of it.

`dvc exp run` composes here too (`.dvc/plugins`), and stage `check` sees what somebody wrote into the file by hand.
Every section is checked against the dataclass of the module that uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from dεps.baseline import ReferenceConfig
from dεps.config import (
    LISTS,
    PARAMS,
    check_names,
    check_plain,
    check_references,
    read_params,
    section,
    selected,
    structured,
)
from dεps.cost import arch_cost
from dεps.data.config import DatasetConfig
from dεps.errors import UserError
from dεps.evaluation import EvaluateConfig
from dεps.exporting.config import ExportConfig
from dεps.files import write_atomic
from dεps.identity import FULL_MODEL, STANDALONE
from dεps.predictor import PredictConfig
from dεps.resume import CheckpointConfig
from dεps.search import SearchConfig
from dεps.search_space import Arch, SearchSpace, check_choice
from dεps.strategies import registry
from dεps.training import LONGEST, TrainConfig
from dεps.trunk import FullModelConfig
from dεps.tuning.config import TuningConfig

CONFIG_DIR = Path("params")
#: an override that names a file of values
FROM = "+from="
#: what is run as it stands: a file, which may be somebody else's, cannot set it
COMMANDS = ("launch",)
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


def compose_params(overrides: Sequence[str], config_dir: Path = CONFIG_DIR, out: Path = PARAMS) -> dict[str, Any]:
    """Compose, check, and write `out`; nothing is written when anything is wrong. Raises `UserError`."""
    params, text = composed(overrides, config_dir)
    write_atomic(out, text)
    return params


def composed(overrides: Sequence[str], config_dir: Path = CONFIG_DIR) -> tuple[dict[str, Any], str]:
    """Compose and check in memory: the params, and the text of their file. Raises `UserError`.

    `+from=FILE` stands for the values in a YAML file, such as a study's `best.yaml`; other overrides take precedence.
    """
    params, text = _composed(overrides, config_dir)
    check_params(params)
    return params, text


def preset(name: str, config_dir: Path = CONFIG_DIR) -> dict[str, Any]:
    """An experiment's params as its group has them, unchecked: it may leave something to be set. Raises `UserError`."""
    return _composed([f"experiment=[{name}]"], config_dir)[0]["experiments"][name]


def _composed(overrides: Sequence[str], config_dir: Path) -> tuple[dict[str, Any], str]:
    files = [text.removeprefix(FROM) for text in overrides if text.startswith(FROM)]
    overrides = [text for text in overrides if not text.startswith(FROM)]
    if not (config_dir / "config.yaml").exists():
        raise UserError(f"{config_dir / 'config.yaml'} does not exist; run this in the project's folder")
    if "experiment=[]" in overrides:
        choices = ", ".join(sorted(path.stem for path in (config_dir / "experiment").glob("*.yaml")))
        raise UserError(f"no experiment is selected; expected experiment=[…] with some of: {choices}")
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        values = [override for override in parsed if _is_value(override, config_dir)]
        chosen = [override.input_line for override in parsed if override not in values]
        with initialize_config_dir(str(config_dir.resolve()), version_base=None):
            config = compose("config", overrides=chosen)
        for file in files:
            _take_over(config, read_params(Path(file), "expected a file of values, such as a study's best.yaml"), file)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        unresolved = OmegaConf.to_container(config)
        _refuse_environment(unresolved, "")
        selected(unresolved, "seeds")  # other sections refer to it …
        if isinstance(unresolved["names"], list):  # … and to names
            _check_selection(unresolved)
        OmegaConf.resolve(config)
    except UserError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(error)) from None
    except Exception as error:  # of some overrides Hydra says nothing, and Python stumbles over what they become
        given = " ".join(overrides)[:200]
        raise UserError(f"overrides '{given}' are not understood ({error}); expected key=value") from None
    return OmegaConf.to_container(config), OmegaConf.to_yaml(config)


def _is_value(override: Override, config_dir: Path) -> bool:
    """Whether it sets a key of the composed config; others choose files, or are Hydra's own."""
    others = override.package is not None or override.is_hydra_override() or override.is_sweep_override()
    return not others and not (config_dir / override.key_or_group).is_dir()


def _take_over(config: DictConfig, values: Mapping[str, Any], file: str, where: str = "", new: bool = False) -> None:
    """Set the values of a file in `config`, as they are: none is read as an override or as a reference.

    A mapping with a strategy is all of a method's options: it takes the place of what was there. Keys that `config`
    does not have are refused, but below one that is written `++key`. Raises `UserError`.
    """
    for written, value in values.items():
        key = written if where else written.lstrip("+")
        full, may_be_new = f"{where}.{key}" if where else key, new or written.startswith("++")
        if full in COMMANDS:
            raise UserError(f"{file} sets {full}, which is run; who wants that says so: '{full}={value}'")
        whole, there = isinstance(value, dict) and "strategy" in value, key in list(config)
        if not (there or whole or may_be_new):
            raise UserError(_no_such_key(full, config))
        if there and OmegaConf.is_interpolation(config, key):
            config[key] = OmegaConf.to_container(config[key], resolve=True) if isinstance(value, dict) else None
        if isinstance(value, dict) and not whole and there and isinstance(config[key], DictConfig):
            _take_over(config[key], value, file, full, may_be_new)
        else:
            check_references(value, f"{file}: {full}")
            with open_dict(config):
                config[key] = value


def _refuse_environment(value: Any, where: str) -> None:
    """A variable may hold a password, and differs from machine to machine: neither belongs into params.yaml."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_environment(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, str) and "oc.env" in value:
        raise UserError(f"{where} is {value!r}, which reads the environment; expected the value itself")


def load_space(name: str, config_dir: Path = CONFIG_DIR) -> SearchSpace:
    """The space of `params/space/<name>.yaml`, composed, since one may build on another. Raises `UserError`."""
    choices = sorted(path.stem for path in (config_dir / "space").glob("*.yaml"))
    if not choices:
        raise UserError(f"{config_dir / 'space'} holds no space; run this in the project's folder")
    check_choice(name, choices, "space")
    try:
        with initialize_config_dir(str(config_dir.resolve()), version_base=None):
            data = OmegaConf.to_container(compose(f"space/{name}").space, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(error)) from None
    return structured(SearchSpace, data, f"space {name}")


def _one_line(error: Exception) -> str:
    """Hydra's message without its drawings, search paths and links; with the choices where a group has none such."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        folder = CONFIG_DIR / Path(error.missing_cfg_file).parent
        choices = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "no such group"
        return f"'{error.missing_cfg_file}' is not in {CONFIG_DIR}/; allowed: {choices}"
    if isinstance(error, OverrideParseException):
        return f"override '{error.override}' is not understood; expected key=value, such as seeds=[0,1]"
    if isinstance(error.__cause__, ConfigKeyError | ConfigAttributeError) and error.__cause__.full_key:
        return _no_such_key(str(error.__cause__.full_key), error.__cause__.parent_node)
    lines = [line.strip() for line in [*str(error).splitlines(), *str(error.__cause__ or "").splitlines()[:1]]]
    return "; ".join(dict.fromkeys(line for line in lines if line))


def _no_such_key(full: str, parent: Any) -> str:
    """What to say of a key that is not there."""
    allowed = ", ".join(map(str, parent or ()))
    section, _, name = full.rpartition(".")
    if section == "experiments" and (CONFIG_DIR / "experiment" / f"{name}.yaml").exists():
        return f"{full} is not selected; add experiment=[{name}]; selected: {allowed}"
    if section.endswith("dataset") and (renamed := DatasetConfig.renamed.get(name)):
        return f"{full} is no known key; it is called {renamed} now"
    return f"{full} is no known key; allowed: {allowed}"


def check_params(params: dict[str, Any]) -> None:
    """Check a whole `params.yaml`. Raises `UserError` naming the key and what is allowed."""
    check_plain(params, f"{PARAMS}:")
    for key in params:
        if key not in TOP_LEVEL:
            raise UserError(f"{key} is no known key; allowed: {', '.join(TOP_LEVEL)}")
    check_names(section(params, "experiments"), "experiments")
    for key in LISTS:
        selected(params, key)
    if not isinstance(params.get("launch"), str) or not params["launch"].strip():
        raise UserError(f"launch is {params.get('launch')!r}; expected a command, python or torchrun with its options")
    structured(CheckpointConfig, params.get("checkpoint", {}), "checkpoint")
    _check_selection(params)
    for name in params["names"]:
        _check_experiment(params, name)
    _check_instances(params)


def _check_selection(params: dict[str, Any]) -> None:
    experiments = section(params, "experiments")
    for name in selected(params, "names"):
        if name not in experiments:
            raise UserError(f"names holds {name!r}; allowed, by experiments: {', '.join(experiments)}")


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
    _check_strategies(params, name, checked["train"], checked["space"], checked["dataset"].channels)
    tuning = structured(TuningConfig, section(params, "experiments", name, "tuning"), f"{where}.tuning")
    tuning.check_trunk(f"{where}.tuning", checked["train"].epochs, checked["full_model"])
    if tuning.seed != params["seeds"][0]:
        raise UserError(f"{where}.tuning.seed is {tuning.seed}; expected {params['seeds'][0]}, the first of seeds")


def _check_strategies(params: dict[str, Any], name: str, train: TrainConfig, space: SearchSpace, channels: int) -> None:
    """Build each selected method for an epoch of one step: what fits each key alone may not fit together."""
    where, setup = f"experiments.{name}", train.setup_for(space, train.batch_size)
    for method in params["methods"]:
        own = section(params, "experiments", name, "methods", method)
        strategy = registry.build(own, f"{where}.methods.{method}", setup)
        epochs = strategy.phases()[-1].end
        if epochs > LONGEST:
            raise UserError(f"{where}.methods.{method} trains for {epochs} epochs; expected at most {LONGEST}")
        points = strategy.space.pareto_archs().values()
        if len({arch_cost(space, arch, 2, channels).macs for arch in points}) < 2:
            raise UserError(f"{where}.space.stages offer {method} one Pareto point only; expected a choice of depths")

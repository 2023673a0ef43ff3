"""Composes the Hydra groups in `params/`, here or in the package: a whole `params.yaml`, a preset, or a space.

Apart from the selected names, nothing is checked here; `dεps.planning.check` does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from dεps.core.errors import UserError, check_choice
from dεps.core.params import read_params, section, selected
from dεps.core.schema import check_plain, new_name, structured
from dεps.data.config import DatasetConfig
from dεps.spaces.space import SearchSpace
from dεps.workspace.project import groups

#: an override that names a file of values
FROM = "+from="
#: what is run as it stands: a file, which may be somebody else's, cannot set it
COMMANDS = ("launch",)


def preset(name: str, config_dir: Path | None = None) -> dict[str, Any]:
    """Return a preset's params, unchecked, since it may leave something to be set. Raises `UserError`."""
    return unchecked([f"experiment=[{name}]"], config_dir)[0]["experiments"][name]


def unchecked(overrides: Sequence[str], config_dir: Path | None = None) -> tuple[dict[str, Any], str]:
    """Params with only the selection checked, and the text of their file. Raises `UserError` for what Hydra refuses."""
    config_dir = config_dir or groups()
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
        chosen = [str(override.input_line) for override in parsed if override not in values]
        with initialize_config_dir(str(config_dir.resolve()), version_base=None):
            config = compose("config", overrides=chosen)
            _add_methods(config, values, config_dir)
        for file in files:
            _take_over(config, read_params(Path(file), "expected a file of values, such as a study's best.yaml"), file)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        unresolved = _plain(config)
        _refuse_environment(unresolved, "")
        selected(unresolved, "seeds")  # other sections refer to it …
        if isinstance(unresolved["names"], list):  # … and to names
            check_selection(unresolved)
        OmegaConf.resolve(config)
    except UserError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(error)) from None
    except Exception as error:  # of some overrides Hydra says nothing, and Python stumbles over what they become
        given = " ".join(overrides)[:200]
        raise UserError(f"overrides '{given}' are not understood ({error}); expected key=value") from None
    return _plain(config), OmegaConf.to_yaml(config)


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config))


def _is_value(override: Override, config_dir: Path) -> bool:
    """Tell whether it sets a key of the composed config; other overrides choose files, or are Hydra's own."""
    others = override.package is not None or override.is_hydra_override() or override.is_sweep_override()
    return not others and not (config_dir / override.key_or_group).is_dir()


def _add_methods(config: DictConfig, values: Sequence[Override], config_dir: Path) -> None:
    """Give each experiment the methods that `methods=[…]` selects, where it lacks one that `params/method/` has."""
    selections = [override.value() for override in values if override.key_or_group == "methods"]
    there = {path.stem for path in (config_dir / "method").glob("*.yaml")}
    for name in selections[-1] if selections and isinstance(selections[-1], list) else ():
        for experiment in config.experiments.values() if isinstance(name, str) and name in there else ():
            if name not in experiment.methods:
                with open_dict(experiment.methods):
                    experiment.methods[name] = compose(f"method/{name}").method


def _take_over(config: DictConfig, values: Mapping[str, Any], file: str, where: str = "", new: bool = False) -> None:
    """Set a file's values in `config` as they are, or raise `UserError`; none is taken for a reference.

    A mapping with a method is whole, so it replaces what was there. Only `++key` and what is below may be new.
    """
    for written, value in values.items():
        key = written if where else written.lstrip("+")
        full, may_be_new = f"{where}.{key}" if where else key, new or written.startswith("++")
        if full in COMMANDS:
            raise UserError(f"{file} sets {full}, which is run; who wants that says so: '{full}={value}'")
        whole, there = isinstance(value, dict) and "method" in value, key in list(config)
        if not (there or whole or may_be_new):
            raise UserError(_no_such_key(full, config))
        if there and OmegaConf.is_interpolation(config, key):
            config[key] = OmegaConf.to_container(config[key], resolve=True) if isinstance(value, dict) else None
        if isinstance(value, dict) and not whole and there and isinstance(config[key], DictConfig):
            _take_over(config[key], value, file, full, may_be_new)
        else:
            check_plain(value, f"{file}: {full}", final=True)
            with open_dict(config):
                config[key] = value


def _refuse_environment(value: Any, where: str) -> None:
    """Raise `UserError` for references to environment variables, which may be passwords and differ by machine."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_environment(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, str) and "oc.env" in value:
        raise UserError(f"{where} is {value!r}, which reads the environment; expected the value itself")


def load_space(name: str, config_dir: Path | None = None, **changes: Any) -> SearchSpace:
    """The space of `params/space/<name>.yaml`, here or in the package, with some keys changed.

    >>> load_space("mbv3_micro", resolution=[32]).resolution
    [32]

    Raises `UserError` naming an unknown space, or a key that has an impossible value.
    """
    config_dir = config_dir or groups()
    choices = sorted(path.stem for path in (config_dir / "space").glob("*.yaml"))
    if not choices:
        raise UserError(f"{config_dir / 'space'} holds no space; run this in the project's folder")
    check_choice(name, choices, "space")
    try:
        with initialize_config_dir(str(config_dir.resolve()), version_base=None):
            composed = compose(f"space/{name}").space  # one may build on another
            data = {**cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True)), **changes}
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(error)) from None
    return structured(SearchSpace, data, f"space {name}")


def _one_line(error: Exception) -> str:
    """Return Hydra's message without drawings, search paths and links; with the choices if a group lacks the name."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        folder = groups() / Path(error.missing_cfg_file).parent
        choices = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "no such group"
        return f"'{error.missing_cfg_file}' is not in params/; allowed: {choices}"
    if isinstance(error, OverrideParseException):
        return f"override '{error.override}' is not understood; expected key=value, such as seeds=[0,1]"
    if isinstance(error.__cause__, ConfigKeyError | ConfigAttributeError) and error.__cause__.full_key:
        return _no_such_key(str(error.__cause__.full_key), error.__cause__.parent_node)
    lines = [line.strip() for line in [*str(error).splitlines(), *str(error.__cause__ or "").splitlines()[:1]]]
    return "; ".join(dict.fromkeys(line for line in lines if line))


def _no_such_key(full: str, parent: Any) -> str:
    """Return what to say about a key that does not exist."""
    allowed = ", ".join(map(str, parent or ()))
    section, _, name = full.rpartition(".")
    if section == "experiments" and (groups() / "experiment" / f"{name}.yaml").exists():
        return f"{full} is not selected; add experiment=[{name}]; selected: {allowed}"
    if section.endswith("dataset") and (now := new_name(DatasetConfig, name)):
        return f"{full} is no known key; it is called {now} now"
    return f"{full} is no known key; allowed: {allowed}"


def check_selection(params: dict[str, Any]) -> None:
    """Raise `UserError` if `names` contains something that is no experiment."""
    experiments = section(params, "experiments")
    for name in selected(params, "names"):
        if name not in experiments:
            raise UserError(f"names holds {name!r}; allowed, by experiments: {', '.join(experiments)}")

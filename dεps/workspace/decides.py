"""What decides each stage's result: its code, its params and what it reads of other stages, said once.

Runs' identities, keys of interrupted work, a trunk's origin, a study's digest and the test of `dvc.yaml` follow.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

from dεps.core.hashing import sha256

PACKAGE = Path(__file__).resolve().parents[1]
#: stages that every run of a method goes through: their sections of params are the run's
RUN = ("prepare", "train", "evaluate", "predict", "search")
#: files of code, by their suffix
SOURCES = (".py", ".cpp")
#: keys of paths to files, each beside the file's hash
PATHS = {"init", "latency"}
#: where stage `check` writes the hash of methods' code, by experiment and stage (and method)
METHODS_CODE = "{}/{}.json"
#: floors that every stage stands on, and every stage with networks
_GROUND = ("core", "data", "workspace")
_MODELS = (*_GROUND, "spaces", "nets")


@dataclass(frozen=True)
class Decides:
    """What decides the result of one stage."""

    #: folders of `dεps/` with the code that it runs; methods' code is apart, file by file
    code: tuple[str, ...]
    #: sections of the experiment's params, perhaps with a key in them
    sections: tuple[str, ...] = ()
    #: keys at the top of params.yaml
    top: tuple[str, ...] = ()
    #: files of `dεps/methods/` that it runs, beside the one that its instance is named after
    methods: tuple[str, ...] = ()
    #: whether it trains the method that its instance is named after
    method: bool = False
    #: results of other stages, below `runs/<experiment>/`, as dvc.yaml writes them
    inputs: tuple[str, ...] = ()

    def section_names(self) -> tuple[str, ...]:
        """The sections as such, each once."""
        return tuple(dict.fromkeys(section.split(".")[0] for section in self.sections))


_INSTANCE = "${item.method}-${item.seed}"
_SUPERNET = f"train/{_INSTANCE}/supernet.safetensors"
_TRAINING = (*_MODELS, "evaluation", "training")
#: how images are prepared for a batch normalisation's statistics. The space is not named by stages that read weights:
#: their file holds all of it, so another space is another input
_RECALIBRATION = ("train.augment", "train.recalibrate_on")
#: which bits all that computes with floating-point numbers rounds to
_KERNELS = ("portable",)

STAGES: dict[str, Decides] = {
    "prepare": Decides((*_GROUND, "sources"), ("dataset",)),
    "full_model": Decides(
        _TRAINING, ("space", "train", "full_model"), _KERNELS, methods=("full_model",), inputs=("prepare",)
    ),
    "standalone": Decides(_TRAINING, ("space", "train"), _KERNELS, methods=("standalone",), inputs=("prepare",)),
    "reference": Decides(
        (*_MODELS, "evaluation"),
        (*_RECALIBRATION, "reference"),
        ("seeds", "standalone", *_KERNELS),
        inputs=("prepare", "full_model", "standalone"),
    ),
    "train": Decides(
        _TRAINING,
        ("space", "train"),
        _KERNELS,
        ("registry",),
        True,
        inputs=("prepare", "full_model/${item.seed}/trunk"),
    ),
    "evaluate": Decides(
        (*_MODELS, "evaluation"), (*_RECALIBRATION, "evaluate"), _KERNELS, inputs=("prepare", _SUPERNET)
    ),
    "predict": Decides(
        (*_MODELS, "search"),
        ("predict",),
        _KERNELS,
        inputs=(f"evaluate/{_INSTANCE}/population.csv", f"evaluate/{_INSTANCE}/pareto.csv"),
    ),
    "search": Decides(
        (*_MODELS, "evaluation", "search"),
        ("predict", *_RECALIBRATION, "search"),
        _KERNELS,
        inputs=(
            "prepare",
            _SUPERNET,
            f"predict/{_INSTANCE}/predictor.safetensors",
            f"predict/{_INSTANCE}/predictions.csv",
        ),
    ),
    "export": Decides(
        (*_MODELS, "evaluation", "search", "deploy"),
        (*_RECALIBRATION, "search.recalibration_images", "search.latency_sha256", "export"),
        _KERNELS,
        inputs=("prepare", _SUPERNET, f"search/{_INSTANCE}/front.csv"),
    ),
    "finetune": Decides(
        (*_TRAINING, "search", "deploy"),
        ("space", "train", "search.recalibration_images", "export.check_images", "finetune"),
        _KERNELS,
        methods=("finetune",),
        inputs=("prepare", _SUPERNET, f"train/{_INSTANCE}/summary.json", f"export/{_INSTANCE}/models.json"),
    ),
    "tune": Decides(
        (*_TRAINING, "tuning"),
        ("space", "train", "full_model", "evaluate.recalibration_images", "tuning"),
        _KERNELS,
        methods=("deps", "full_model", "registry"),
        inputs=("prepare", "full_model"),
    ),
}


def run_sections() -> tuple[str, ...]:
    """Sections of an experiment's params that a run's results depend on, beside its own method."""
    return tuple(dict.fromkeys(name for stage in RUN for name in STAGES[stage].section_names()))


def sections_behind(stages: Iterable[str]) -> tuple[str, ...]:
    """Sections of an experiment's params that decide the results of `stages`, and of all stages that these stand on.

    `methods` is among them where a method's training is.
    """
    seen, todo = set[str](), list(stages)
    while todo:
        if (stage := todo.pop()) not in seen:
            seen.add(stage)
            todo += [path.split("/")[0] for path in STAGES[stage].inputs]
    own = [stage for stage in STAGES if stage in seen]
    names = [name for stage in own for name in STAGES[stage].section_names()]
    return tuple(dict.fromkeys([*names, *(["methods"] if any(STAGES[stage].method for stage in own) else [])]))


def deciding(own: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's params `own` without where the files lie that sections name: their hashes stand for them.

    Nothing is said of a file, or of moving averages, where there is none, so that results of before there was the
    choice stay what they are.
    """
    found = dict(own)
    for name, keys in (("train", ("init_sha256", "ema")), ("search", ("latency_sha256",))):
        section = own.get(name)
        if isinstance(section, Mapping):
            unset = {key for key in keys if not section.get(key)}
            found[name] = {key: value for key, value in section.items() if key not in unset | PATHS}
    return found


def values(stage: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a stage's sections in an experiment's params `own`, `deciding`; None for what is not there."""
    own = deciding(own)

    def value(found: Any, key: str) -> Any:
        return found.get(key) if isinstance(found, Mapping) else None

    return {path: reduce(value, path.split("."), own) for path in STAGES[stage].sections}


def code_hash(stage: str, method: str | None = None) -> str:
    """SHA-256 of all code that decides the stage's result: its folders, its methods, and the file of `method`."""
    decides = STAGES[stage]
    files = {path for folder in decides.code for path in (PACKAGE / folder).rglob("*.*") if path.suffix in SOURCES}
    files |= set(method_files(*decides.methods, *([method] if method else [])))
    return hash_of(files)


def hash_of(files: Iterable[Path]) -> str:
    """SHA-256 over the content of files and their names in the package."""
    content = sorted((path.relative_to(PACKAGE).as_posix(), path.read_bytes()) for path in files)
    return sha256(b"".join(name.encode() + b"\0" + text + b"\0" for name, text in content))


@cache
def method_files(*names: str) -> tuple[Path, ...]:
    """Files of `dεps/methods/` that those methods are made of: their own, and what these import from there."""
    folder, files, todo = PACKAGE / "methods", set[Path](), list(names)
    while todo:
        path = folder / f"{todo.pop()}.py"
        if path.is_file() and path not in files:
            files.add(path)
            todo += _imported(path)
    return tuple(sorted(files))


def _imported(path: Path) -> Iterable[str]:
    """Names of files of the same folder that a file of `dεps/methods/` imports."""
    package = f"{PACKAGE.name}.methods"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package}."):
            yield node.module.removeprefix(f"{package}.")

"""What a run is: one (experiment, method, seed) under given params on given data, which means the same results."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dεps.core.hashing import digest
from dεps.core.params import section
from dεps.workspace.decides import STAGES, deciding, run_sections

#: the trunk appears beside the methods, as the full model trained on its own
FULL_MODEL = "full_model"
#: and so does each arch that is trained alone, as `standalone-<arch>`
STANDALONE = "standalone"
#: and each exported subnet that is trained on, as `finetune-<method>@<budget>`
FINETUNE = "finetune"
MAX_VALUE = 6000  # MLflow refuses longer parameters


@dataclass(frozen=True)
class RunIdentity:
    """Name, digest, parameters and tags of one run."""

    experiment: str
    method: str
    seed: int
    digest: str
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def name(self) -> str:
        """As the MLflow UI shows it."""
        return f"{self.method}-{self.seed}"


def run_identity(
    params: dict[str, Any], experiment: str, method: str, seed: int, manifest: Mapping[str, Any]
) -> RunIdentity:
    """Identity of a run from the whole of `params.yaml` and the data's manifest."""
    own = deciding(section(params, "experiments", experiment))
    sections: dict[str, Any] = {name: own[name] for name in run_sections() if name in own}
    if method.startswith(f"{STANDALONE}-"):
        sections["method"] = {"method": STANDALONE, "arch": method.removeprefix(f"{STANDALONE}-")}
    elif found := finetuned_of(method):
        of, target = found
        sections |= {name: own[name] for name in ("export", FINETUNE) if name in own}
        begun = section(params, "experiments", experiment, "methods", of)
        sections["method"] = {"method": FINETUNE, "of": of, "subnet": target, "supernet": begun}
    elif method != FULL_MODEL:
        sections["method"] = section(params, "experiments", experiment, "methods", method)
    sections |= _kernels(params)
    # Where the images lie does not change what is learnt from them; the data's own hash does.
    sections["dataset"] = {key: value for key, value in sections["dataset"].items() if key not in ("root", "workers")}
    data_hash = digest(manifest["sha256"])
    tags = {"experiment": experiment, "method": method, "seed": str(seed), "dataset": str(manifest["name"])}
    tags |= {"space": str(sections["space"]["name"]), "data_hash": data_hash}
    own_digest = digest([experiment, method, seed, sections, data_hash])
    return RunIdentity(experiment, method, seed, own_digest, {"seed": str(seed), **flatten(sections)}, tags)


def training_facts(
    params: dict[str, Any], experiment: str, method: str, seed: int, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """What the weights of a training depend on beside space and code: hashes by the name of the section of params."""
    own = deciding(section(params, "experiments", experiment))
    found = finetuned_of(method)
    more = {FINETUNE: digest([found, own.get(FINETUNE)])} if found else {}
    method = found[0] if found else method
    return {
        "dataset": digest(manifest["sha256"]),
        **{name: digest(own[name]) for name in STAGES["train"].sections if name != "space"},
        f"methods.{method}": digest(own["methods"].get(method)),
        **more,
        "seed": seed,
        **_kernels(params),
    }


def _kernels(params: Mapping[str, Any]) -> dict[str, bool]:
    """What is said of `portable`, which other bits are; nothing where it is off."""
    return {"portable": True} if params.get("portable") else {}


def standalone_method(arch: str) -> str:
    """What stands in the place of a method's name for an arch that is trained alone."""
    return f"{STANDALONE}-{arch}"


def finetuned_method(method: str, subnet: str) -> str:
    """What stands in the place of a method's name for its subnet, a budget's or an arch, that is trained on."""
    return f"{FINETUNE}-{method}@{subnet}"


def finetuned_of(name: str) -> tuple[str, str] | None:
    """The method and the subnet of a name that `finetuned_method` has made; None for other names."""
    method, at, subnet = name.removeprefix(f"{FINETUNE}-").partition("@")
    return (method, subnet) if at else None


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys; lists of mappings stay JSON, cut to what MLflow takes."""
    if isinstance(value, Mapping):
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
        return flat
    return {prefix: (value if isinstance(value, str) else json.dumps(value))[:MAX_VALUE]}


def git_commit() -> str:
    """The checked-out commit, with a mark for uncommitted changes; "unknown" outside git.

    params.yaml may differ: each run keeps its params.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        # Without its lock: of a process that is killed meanwhile it would stay, and git and DVC would refuse to go on.
        options = ("--porcelain", "--untracked-files=no", "--", ":!dvc.lock", ":!params.yaml", ":!reports")
        dirty = _git("--no-optional-locks", "status", *options)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}+changes" if dirty else commit


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

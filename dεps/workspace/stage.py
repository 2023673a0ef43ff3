"""What all DVC stages share: arguments, a lock, an output that is complete or absent, one-line errors.

A stage script defines `work(context, out)` and calls `run("name", work, …)`. Results go to
`runs/<experiment>/<stage>/<instance>`; what must not be hashed, such as durations and locks, lies below `.state/`.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from dεps.core.console import say
from dεps.core.energy import EnergyMeter
from dεps.core.errors import UserError
from dεps.core.files import output_folder, write_json
from dεps.core.hashing import digest
from dεps.core.params import LARGEST_SEED, check_names, read_params, section
from dεps.core.process import guarded, kernels, threads
from dεps.core.schema import structured
from dεps.core.stopwatch import computed
from dεps.data.manifest import prepared_folder
from dεps.workspace.decides import STAGES, code_hash, values
from dεps.workspace.identity import FINETUNE, FULL_MODEL, finetuned_method, standalone_method
from dεps.workspace.locks import STATE, exclusive
from dεps.workspace.resume import CheckpointConfig

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The instance of a stage that runs, and its params."""

    stage: str
    experiment: str
    method: str | None = None
    seed: int | None = None
    params: dict[str, Any] = field(default_factory=dict, repr=False)
    #: as `params.yaml` names it, in a stage that is about one arch
    arch: str | None = None
    #: of stage `export`, in a stage that is about what it chose under one
    budget: str | None = None

    @property
    def instance(self) -> str:
        """Return the instance's name within stage and experiment, such as `deps-0`; empty if there is only one."""
        parts = (self.method, self.arch, self.budget, self.seed)
        return "-".join(str(part) for part in parts if part is not None)

    @property
    def the_method(self) -> str:
        """The method, in a stage that is about one; so `the_seed`, `the_arch` and `the_budget`."""
        return _given(self.method, "method")

    @property
    def the_seed(self) -> int:
        return _given(self.seed, "seed")

    @property
    def the_arch(self) -> str:
        return _given(self.arch, "arch")

    @property
    def the_budget(self) -> str:
        return _given(self.budget, "budget")

    @property
    def label(self) -> str:
        """Return the name for progress lines and messages."""
        return f"{self.stage} {self.experiment}" + (f" {self.instance}" if self.instance else "")

    @property
    def training(self) -> str:
        """Return what stands in the place of a method's name in the identity of the training that this is about."""
        if self.stage == FINETUNE:
            return finetuned_method(self.the_method, self.budget or self.the_arch)
        return self.method or (standalone_method(self.arch) if self.arch else FULL_MODEL)

    def keys(self, *keys: str) -> tuple[str, ...]:
        """Return the full key of something in this experiment's params."""
        return ("experiments", self.experiment, *keys)

    def section(self, schema: type[T], *keys: str) -> T:
        """Return a checked section of this experiment's params. Raises `UserError`."""
        full = self.keys(*keys)
        return structured(schema, section(self.params, *full), ".".join(full))

    def checkpoint(self) -> CheckpointConfig:
        return structured(CheckpointConfig, self.params.get("checkpoint", {}), "checkpoint")

    def data_folder(self) -> Path:
        return prepared_folder(self.experiment)

    def folder(self, stage: str, instance: str | None = None) -> Path:
        """Return the output folder of a stage: this instance's, or a named one's."""
        return Path("runs") / self.experiment / stage / (self.instance if instance is None else instance)

    def needed(self, stage: str, file: str) -> Path:
        """Return what this instance wrote in an earlier stage. Raises `UserError` with the command that makes it."""
        path = self.folder(stage) / file
        if not path.exists():
            made = f"'dvc repro {stage}@{self.experiment}-{self.instance}' makes it"
            raise UserError(f"{path} does not exist; {made}, for what params.yaml selects")
        return path

    def work_key(self, *more: object) -> str:
        """Key of this instance's unfinished work: a hash of all that decides its result, and of `more` plain data."""
        own, decides = section(self.params, *self.keys()), STAGES[self.stage]
        method = section(self.params, *self.keys("methods", str(self.method))) if decides.method else {}
        code = code_hash(self.stage, method.get("method"))
        portable = bool(self.params.get("portable"))
        return digest([self.label, values(self.stage, own), portable, method, code, *more])

    def state(self, kind: str, suffix: str = "") -> Path:
        """Return this instance's path below `.state/<kind>`."""
        return STATE / kind / self.experiment / self.stage / f"{self.instance or 'all'}{suffix}"


def _given(value: T | None, name: str) -> T:
    if value is None:
        raise TypeError(f"a stage without --{name} has no {name}")
    return value


def run(
    stage: str,
    work: Callable[[Context, Path], None],
    arguments: Sequence[str] = ("experiment",),
    out: Callable[[Context], Path] = lambda context: context.folder(context.stage),
    argv: Sequence[str] | None = None,
) -> None:
    """Do the work of the instance that the options named in `arguments` say; exits as `guarded` does on an error."""
    parser = _Parser(description=f"Stage {stage}: one instance, as dvc.yaml calls it.")
    for name in arguments:
        parser.add_argument(f"--{name}", required=True, type=_seed if name == "seed" else _name)

    def instance() -> None:
        context = Context(stage, **vars(parser.parse_args(argv)), params=read_params())
        section(context.params, *context.keys())
        context.checkpoint()
        if not leads():
            # The first process's results and lines are everyone's.
            with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
                work(context, Path(folder))
            return
        _make_room(context)
        with exclusive(context.state("locks", ".lock"), "runs this stage"):
            started, scratch = time.time(), context.state("scratch")
            shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
            with EnergyMeter() as meter:
                with output_folder(out(context), scratch) as folder:
                    work(context, folder)
                shutil.rmtree(context.state("resume"), ignore_errors=True)
                _note_duration(context, started, meter.joules())

    guarded(instance)


def _make_room(context: Context) -> None:
    """Remove files that are where folders of `.state` belong; their content can be made again."""
    for kind in ("locks", "scratch", "resume", "live", "timing", "tune"):
        path = context.state(kind)
        for folder in (STATE, STATE / kind, path.parent.parent, path.parent):
            if folder.is_file():
                say(f"{context.label}: {folder} is a file where a folder belongs; it is removed")
                folder.unlink()
        if kind in ("scratch", "resume") and path.is_file():
            path.unlink()


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def _name(text: str) -> str:
    """Return `text` if it is safe as part of a path."""
    try:
        check_names([text], "it", "._-")  # of an arch, as "w0.65"
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; expected a whole number from 0 up to {LARGEST_SEED}")
    return int(text)


def leads() -> bool:
    """Tell whether this process writes the results: it is the only one, or the first that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


def _note_duration(context: Context, started: float, joules: dict[str, float]) -> None:
    """Write wall-clock time, pure computing time, peak memory, energy, and what decides the last bits beside inputs.

    It lies outside DVC's outputs.
    """
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    seconds, cores = computed()
    note = {"started": started, "seconds": round(time.time() - started, 3), "computing": round(seconds, 3)}
    note |= {"computing_cores": round(cores, 3)}
    note |= {"peak_mib": round(peak / 1024, 1), "threads": threads(), "kernels": kernels()}
    note |= {"joules": joules} if joules else {}
    write_json(context.state("timing", ".json"), note)

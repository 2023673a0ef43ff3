"""DVC's graph of items, and all that is used of DVC beyond its commands; a test holds the installed version to it.

An *item* is a stage, or one instance of a stage with a matrix: `train@quick-deps-0`.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dεps.core.errors import UserError
from dεps.core.files import write_atomic

if TYPE_CHECKING:
    from dvc.stage import PipelineStage


LOCK = Path("dvc.lock")
#: in what DVC notes of an item's process
ITEM = "parallel/item.py"
HEAD = "schema: '2.0'\nstages:\n"
#: where an item begins in dvc.lock
_ITEM = re.compile(r"^(?=  \S)", re.MULTILINE)
#: runs a command in a folder with an environment; returns its exit code, or None if it leaves it to DVC
Command = Callable[[str, str, Mapping[str, str]], int | None]


class Dag:
    """Items that targets need, and what `dvc.lock` says of them.

    Args:
        targets: as `dvc repro` takes them; none: all items.
        allow_missing: whether an output or input that is not here counts as what `dvc.lock` says of it.
    """

    #: names in the order of `dvc repro`, each with the items that it stands on
    upstream: dict[str, tuple[str, ...]]
    #: names of all items, whatever the targets, in that order
    order: list[str]

    def __init__(self, targets: Sequence[str] = (), allow_missing: bool = False) -> None:
        from dvc.repo import Repo
        from dvc.repo.reproduce import get_active_graph, plan_repro

        _mend()
        with _errors():
            self._repo = Repo(_wait_for_lock=True)
            graph = get_active_graph(self._repo.index.graph)
            stages = [stage for target in targets for stage in self._repo.stage.collect(target)]
            plan = plan_repro(graph, stages)
            self.order = [stage.addressing for stage in plan_repro(graph)]
        self.allow_missing = allow_missing
        self._stages = {stage.addressing: stage for stage in plan}
        self._upstream = {stage.addressing: list(graph.successors(stage)) for stage in plan}
        needs = {name: {need.addressing for need in stages} for name, stages in self._upstream.items()}
        self.upstream = {name: tuple(other for other in needs if other in needs[name]) for name in needs}

    def changed(self, names: Collection[str]) -> set[str]:
        """Return those of the items whose code, params, inputs or outputs are not what `dvc.lock` says."""
        from dvc.repo import lock_repo

        with _errors(), lock_repo(self._repo):
            # Of an item that has not run since, `dvc.lock` says what it said when the stage was loaded.
            return {name for name in names if self._stages[name].changed(self.allow_missing, self._upstream[name])}

    def unfinished(self, names: Collection[str]) -> set[str]:
        """Return those of the names that are `changed`, or no item at all."""
        known = set(self.order)
        return self.changed(known.intersection(names)) | (set(names) - known)

    def commands(self, names: Collection[str]) -> list[str]:
        """Return what each of the items runs, in their order."""
        return [str(self._stages[name].cmd) for name in self.upstream if name in names]

    def behind(self, names: Collection[str]) -> set[str]:
        """Return `names` and all that stand on one of them."""
        found = set(names)
        for name, needs in self.upstream.items():  # an item comes after those that it stands on
            if found.intersection(needs):
                found.add(name)
        return found

    def sort_lock(self) -> None:
        """Put `dvc.lock` into the order of `dvc repro`; entries of what is no item any more come last."""
        with _errors(), self._repo.lock, self._repo.scm_context(quiet=True) as staged:
            text = LOCK.read_text("utf-8") if LOCK.exists() else ""
            if text.startswith(HEAD):
                entries = _entries(text)
                known = [name for name in self.order if name in entries]
                gone = [name for name in entries if name not in set(self.order)]
                ordered = HEAD + "".join(entries[name] for name in known + gone)
                if ordered != text:
                    write_atomic(LOCK, ordered)
                    staged.track_file(str(LOCK))


@contextmanager
def _errors() -> Iterator[None]:
    """Turn DVC's errors into one line."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise UserError(f"DVC: {error}") from None


def _mend() -> None:
    """Take out of DVC's list of readers and writers what killed items have left there; none runs any more.

    DVC asks only whether a process of that number exists, which may be another one. A list that was half written is
    removed.
    """
    path = Path(".dvc/tmp/rwlock")
    try:
        listed = json.loads(path.read_text("utf-8"))
        kept = {
            "write": {file: one for file, one in listed.get("write", {}).items() if ITEM not in one["cmd"]},
            "read": {
                file: left
                for file, all_ in listed.get("read", {}).items()
                if (left := [one for one in all_ if ITEM not in one["cmd"]])
            },
        }
    except FileNotFoundError:
        return
    except (ValueError, AttributeError, TypeError, KeyError):
        path.unlink()
        return
    if kept != listed:
        write_atomic(path, json.dumps(kept))


def _entries(text: str) -> dict[str, str]:
    """Return each item's lines in `dvc.lock`, by its name."""
    parts = _ITEM.split(text.removeprefix(HEAD))
    return {part.partition("\n")[0].strip().removesuffix(":").strip("'\""): part for part in parts if part}


def import_dvc() -> None:
    """Import, and make, what each `dvc repro` would: a fork of this process finds it there."""
    from functools import cache
    from importlib import import_module

    from dvc.cli import parser
    from dvc.repo import Repo
    from dvc.repo.reproduce import get_active_graph

    for late in ("dulwich.index", "dvc.rwlock", "dvc_data.hashfile.status", "scmrepo.git.backend.pygit2.filter"):
        import_module(late)
    parser.get_main_parser = cache(parser.get_main_parser)
    parser.get_main_parser()
    with Repo() as repo:
        get_active_graph(repo.index.graph)


def own_lines_only(name: str) -> None:
    """Let DVC, in this process, read and replace only an item's own lines in `dvc.lock`, and the file in one move.

    DVC parses and writes the whole file for each item, which takes seconds where there are hundreds of them, and a
    process that is killed meanwhile leaves half a file. The bytes are those that DVC writes.
    """
    from dvc.dvcfile import Lockfile
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml, parse_yaml

    load_by_dvc, dump_by_dvc = Lockfile.load, Lockfile.dump_stages

    def text_of(self: Lockfile) -> str | None:
        """The file; None if it is not as DVC writes it by itself."""
        text = Path(self.path).read_text("utf-8") if Path(self.path).exists() else HEAD
        return text if text.startswith(HEAD) else None

    def load(self: Lockfile, **options: Any) -> Any:
        if (text := text_of(self)) is None or options:
            return load_by_dvc(self, **options)
        own = _entries(text).get(name)
        return self.validate(parse_yaml(HEAD + own, self.path), self.path) if own else {}

    def dump_stages(self: Lockfile, stages: Sequence[PipelineStage], **options: Any) -> None:
        if (text := text_of(self)) is None:
            return dump_by_dvc(self, stages, **options)
        entries = _entries(text)
        for stage in stages:
            written = dumps_yaml({"schema": "2.0", "stages": to_lockfile(stage, **options)})
            entries |= _entries(written)
        if (replaced := HEAD + "".join(entries.values())) != text:
            write_atomic(Path(self.path), replaced)
            self.repo.scm_context.track_file(self.relpath)

    Lockfile.load, Lockfile.dump_stages = load, dump_stages


def name_causes() -> None:
    """Let DVC, in this process, name an error that says nothing of itself, and the place in code that it is from."""
    from dvc import logger

    def causes(error: BaseException | None) -> Iterator[str]:
        while error is not None:
            where = traceback.extract_tb(error.__traceback__)[-1:]
            place = "".join(f" in {Path(frame.filename).name}, line {frame.lineno}" for frame in where)
            yield str(error) or f"{type(error).__name__}{place}"
            error = error.__cause__

    logger._iter_causes = causes


def commands_by(command: Command) -> None:
    """Let DVC, in this process, have commands of stages run by `command`, where that takes them."""
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError

    by_dvc = run._run

    def _run(executable: str | None, line: str, **options: Any) -> None:
        code = command(line, options["cwd"], options["env"])
        if code is None:
            by_dvc(executable, line, **options)
        elif code:
            raise StageCmdFailedError(line, code)

    run._run = _run

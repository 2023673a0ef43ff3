"""A server that imports once what items and stages need, and then forks them, in milliseconds instead of seconds.

    deps repro ── socket ──> server          imports DVC, torch and the stages' modules; computes nothing
                               └─ fork ──> item         does what `python -m dεps.cli.parallel.item` does
                                             └─ fork ──> stage    does what `python -m pipelines.x …` does

A stage is forked together with its item, before DVC starts threads, and waits to be told its command; it then goes the
way of a new process: environment, arguments, handlers of signals, and the whole of the package `pipelines` anew. Only
commands of that very form come here; all others, and all where something differs from when the server began (the
environment, a source file), DVC runs as processes of their own.

When a source file changes, the server puts a new one in its place, which goes on to watch the items that run.
"""

from __future__ import annotations

import ast
import atexit
import gc
import json
import os
import re
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path
from types import ModuleType
from typing import IO, NoReturn

from dεps.cli.parallel import item
from dεps.cli.parallel.dag import import_dvc
from dεps.core.process import begin
from dεps.workspace.locks import STATE

#: what a stage is, as dvc.yaml calls it: nothing that a shell would change
STAGE = re.compile(r"python -m pipelines\.(\w+)((?: [\w./@%+=:,-]+)*)")
#: what is printed by the server itself, such as an error in it
LOG = STATE / "repro" / "forks.log"
#: packages whose files decide what a process does
SOURCES = ("dεps", "deps", "pipelines")
#: libraries that start a thread as they are imported; a process with threads is not to be forked
THREADED = ("onnxruntime",)
#: folders of installed packages
INSTALLED = {"site-packages", "dist-packages"}
#: threads that heed forks: of the memory allocator in pyarrow
HEEDFUL = "jemalloc_bg_thd"
#: variables that differ between items, and that nothing reads as it is imported
OWN = re.compile(r"DVC_\w+|CUDA_VISIBLE_DEVICES")


class Fork:
    """An item that the server has forked or will fork, as `subprocess.Popen` has it."""

    def __init__(self, server: Server, stdin: IO[bytes]) -> None:
        self.server, self.stdin = server, stdin
        #: None as long as the server has not answered
        self.pid: int | None = None
        self.code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        self.server.listen()
        return self.code

    @property
    def lost(self) -> bool:
        """Whether the server has ended without a word of it."""
        return not self.server.alive and self.code is None


class Server:
    """This process's end of the server."""

    def __init__(self, line: socket.socket) -> None:
        self.line, self.alive = line, True
        #: asked for and not yet forked, in that order, and forked
        self.waiting: list[Fork] = []
        self.running: dict[int, Fork] = {}

    def start(self, name: str, log: IO[bytes], lock: int, environment: Mapping[str, str]) -> Fork:
        """Ask for an item, with its output in `log`, `lock` held, and `environment` beside this process's own."""
        read, write = os.pipe()
        try:
            asked = json.dumps({"name": name, "environment": dict(environment)}).encode()
            socket.send_fds(self.line, [asked], [read, log.fileno(), lock])
        finally:
            os.close(read)
        self.waiting.append(Fork(self, os.fdopen(write, "wb")))
        return self.waiting[-1]

    def listen(self) -> None:
        """Take in what the server has said."""
        while self.alive:
            try:
                said = self.line.recv(1 << 12, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            if not said:
                self.alive = False
                return
            pid, code = json.loads(said)
            if code is None:
                self.running[pid] = self.waiting.pop(0)
                self.running[pid].pid = pid
            else:
                self.running.pop(pid).code = code


@contextmanager
def server(commands: Iterable[str]) -> Iterator[Server | None]:
    """Run the server during the block, for stages of these commands; None where it would not pay."""
    commands = list(commands)
    stages = dict.fromkeys(found[1] for command in commands if (found := STAGE.fullmatch(command)))
    if len(commands) < 2 or sys.platform != "linux":
        yield None
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with ours, LOG.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno()), ",".join(stages), ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            yield Server(ours)
        finally:
            process.kill()  # items have ended; it has nothing to lose
            process.wait()


def main() -> None:
    """Serve a socket until its other end is closed, or, forked, do what was asked."""
    begin()
    line, stages, pids = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], sys.argv[3]
    began = Began()
    _import(filter(None, stages.split(",")))
    if not _is_single():
        sys.exit("a library has started a thread: nothing is forked")
    gc.freeze()
    _end(_serve(line, [int(pid) for pid in pids.split(",") if pid], began))


def _end(work: Callable[[], None]) -> NoReturn:
    """Do the work and end as Python does, but for taking apart what was imported: that would copy all memory."""
    code: object = None
    try:
        work()
    except SystemExit as error:
        code = error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType]
        code = 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue] - waits for threads, as Python does here
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


class Began:
    """What a new process would read, as it was before anything was imported."""

    def __init__(self) -> None:
        self.sources, self.folder, self.environment = signature(), os.getcwd(), _shared(os.environ)

    def allows(self, folder: str, environment: Mapping[str, str]) -> bool:
        """Tell whether a stage that begins now, there, would find the same."""
        python = shutil.which("python", path=environment.get("PATH"))
        return (
            python is not None
            and Path(python).parent == Path(sys.executable).parent
            and os.path.samefile(python, sys.executable)
            and os.path.samefile(folder, self.folder)
            and _shared(environment) == self.environment
            and "BASH_ENV" not in environment  # a script that shells run first
            and signature() == self.sources
        )


def signature() -> list[tuple[str, int, int, int]]:
    """Return what changes when a source file does, is added or is removed."""
    found: list[tuple[str, int, int, int]] = []
    for folder, _, names in (walked for name in SOURCES for root in _folders(name) for walked in os.walk(root)):
        for path in (os.path.join(folder, name) for name in names if name.endswith(".py")):
            with suppress(FileNotFoundError):  # removed since it was listed, or an editor's link that leads nowhere
                stat = os.stat(path)
                found.append((path, stat.st_ino, stat.st_ctime_ns, stat.st_size))
    return sorted(found)


def _folders(package: str) -> list[str]:
    spec = find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


def _shared(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if not OWN.fullmatch(key)}


class _NotAhead(BaseException):
    """Ends the import of whatever imports what only a stage may: no error, which libraries may catch.

    That is a library that starts threads, and a user's own module, an edit of which nothing here would see.
    """

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> object:
        """Find a module as the others do; raise it, as the first of `sys.meta_path`, for those."""
        others = (finder for finder in sys.meta_path if finder is not cls)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if name in THREADED or (spec and path is None and name not in SOURCES and not _is_library(spec)):
            raise cls
        return spec


def _is_library(spec: ModuleSpec) -> bool:
    """Tell whether a module is Python's or has been installed, rather than lies in a folder that is worked on."""
    files = [spec.origin] if spec.has_location and spec.origin else spec.submodule_search_locations or []
    own = {get_path("stdlib"), get_path("platstdlib")}
    return all(
        INSTALLED.intersection(Path(file).parts) or any(Path(file).is_relative_to(folder) for folder in own)
        for file in files
    )


def _import(stages: Iterable[str]) -> None:
    """Import what items need and what these stages import; what fails is left to the stage, which says why."""
    sys.meta_path.insert(0, _NotAhead)  # pyright: ignore[reportArgumentType] - a finder by its method
    files = [Path(folder, f"{stage}.py") for stage in stages for folder in _folders("pipelines")]
    for load in (load for file in files if file.exists() for load in _imports(file)):
        with suppress(Exception, _NotAhead):
            load()
    with suppress(Exception), warnings.catch_warnings():  # DVC's own filters are no stage's
        import_dvc()
    sys.meta_path.remove(_NotAhead)  # pyright: ignore[reportArgumentType]
    for name in [name for name in sys.modules if name.partition(".")[0] == "pipelines"]:
        del sys.modules[name]  # each stage imports it as the first thing of all


def _imports(file: Path) -> Iterator[Callable[[], object]]:
    """Yield what does the imports at the top of a file. The file itself may do its work when it is imported."""
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.Import):
            yield from (partial(import_module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield partial(__import__, node.module, fromlist=[alias.name for alias in node.names])


def _is_single() -> bool:
    """Tell whether this process has no threads that a forked one would miss."""
    threads = [Path(f"/proc/self/task/{number}/comm").read_text().strip() for number in os.listdir("/proc/self/task")]
    return len(threads) - threads.count(HEEDFUL) == 1


def _serve(line: socket.socket, pids: Iterable[int], began: Began) -> Callable[[], None]:
    """Fork what is asked for. Returns in forked processes only: their work."""
    ends = {os.pidfd_open(pid): pid for pid in pids}
    while True:
        poll = select.poll()
        for descriptor in (line.fileno(), *ends):
            poll.register(descriptor, select.POLLIN)
        try:
            for descriptor, _ in poll.poll():
                if descriptor != line.fileno():
                    pid = ends.pop(descriptor)
                    os.close(descriptor)
                    line.send(json.dumps([pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]).encode())
                    continue
                if signature() != began.sources:
                    left = ",".join(map(str, ends.values()))
                    os.execv(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:3], left])  # noqa: S606 - no shell
                asked, descriptors, *_ = socket.recv_fds(line, 1 << 16, 3)
                if not asked:
                    sys.exit()
                if not (pid := os.fork()):
                    for other in (line.detach(), *ends):
                        os.close(other)
                    stdin, log, lock = descriptors
                    return _fork_both(began, stdin, log, lock, **json.loads(asked))
                for other in descriptors:
                    os.close(other)
                ends[os.pidfd_open(pid)] = pid
                line.send(json.dumps([pid, None]).encode())
        except OSError:  # nobody is there any more
            sys.exit()


def _fork_both(
    began: Began, stdin: int, log: int, lock: int, name: str, environment: Mapping[str, str]
) -> Callable[[], None]:
    """Become an item, with a process beside it that will be its stage; return what this one has to do."""
    os.setsid()
    for target, source in enumerate((stdin, log, log)):
        os.dup2(source, target)
    os.close(stdin)
    os.close(log)
    os.environ.update(environment)
    read, write = os.pipe()
    stage = os.fork()
    os.close(read if stage else write)
    if stage:
        sys.argv = [str(item.__file__), name]  # DVC notes it, with the process's number, as the user of its files
        gc.enable()
        return partial(item.run, name, partial(_hand_over, began, [(stage, write)]))
    os.close(lock)
    return partial(_stage, read)


def _hand_over(
    began: Began, waiting: list[tuple[int, int]], command: str, folder: str, environment: Mapping[str, str]
) -> int | None:
    """Let the process that waits run the command; return its exit code, or None if it can't be its.

    Of a stage's several commands it runs one.
    """
    found = STAGE.fullmatch(command)
    if not waiting or not found or not began.allows(folder, environment):
        return None
    stage, write = waiting.pop()
    with suppress(OSError), os.fdopen(write, "w") as file:  # it may have been told to end meanwhile
        json.dump({"stage": found[1], "arguments": found[2].split(), "environment": dict(environment)}, file)
    return os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])


def _stage(read: int) -> None:
    """Wait for the command, then do what Python does with it; end if there is none."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interruptible = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # a shell's background processes are not
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with os.fdopen(read) as file:
        text = file.read()
    if not text:
        os._exit(0)
    asked = json.loads(text)
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # DVC has put its own there
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["-m", *asked["arguments"]]  # as it is while Python looks for the module
    runpy.run_module(f"pipelines.{asked['stage']}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

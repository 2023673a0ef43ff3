"""A DVC project of made-up items that take no time: check → prepare → n × (train → evaluate) → report."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.conftest import ROOT

#: what each item runs; `sleep` and `fail` are in params, so that a test may change them
SCRIPT = """
import os, sys, time
stage, item, *rest = sys.argv[1:]
print("begins", flush=True)
started = time.monotonic()
# Read again and again: a test may end the sleep. An empty file is one that is being written.
while stage == "train" and time.monotonic() - started < float(open("sleep.txt").read() or 60):
    time.sleep(0.01)
if f"{stage}@{item}" in open("fail.txt").read().split():
    sys.exit("error: this item was told to fail")
for path in rest:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").write(f"{stage} {item}\\n")
"""
PIPELINE = """
stages:
  prepare:
    cmd: python work.py prepare one runs/data
    deps: [work.py]
    outs: [runs/data]
  train:
    matrix: {item: "${items}"}
    cmd: python work.py train ${item.item} runs/train/${item.item}/a runs/train/${item.item}/b
    params: [rate]
    deps: [runs/data]
    outs: ["runs/train/${item.item}/a", "runs/train/${item.item}/b"]
  evaluate:
    matrix: {item: "${items}"}
    cmd: python work.py evaluate ${item.item} runs/evaluate/${item.item}/c
    deps: ["runs/train/${item.item}"]
    outs: ["runs/evaluate/${item.item}/c"]
  report:
    cmd: python work.py report one report/page
    deps: [runs]
    outs: [report/page]
"""


class Toy:
    """The project in a folder, and its commands as users type them.

    Its items are stages as a server forks them where `imports` says what they import first; else scripts.
    """

    def __init__(self, folder: Path, items: int, imports: str | None = None) -> None:
        self.folder, self.items = folder, [f"i{number}" for number in range(items)]
        script = "work.py" if imports is None else "pipelines/work.py"
        command = script if imports is None else "-m pipelines.work"
        config = "[core]\n    analytics = false\n    autostage = true\n    check_update = false\n"
        for name, text in {
            script: (imports or "") + SCRIPT,
            "sleep.txt": "0",
            "fail.txt": "",
            "dvc.yaml": PIPELINE.replace("python work.py", f"python {command}").replace("work.py", script),
            ".dvc/config": config,
            ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
            ".gitignore": "/runs\n/report\n/.state\n/sleep.txt\n/fail.txt\n",
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        if imports is not None:
            shutil.copy(ROOT / "pipelines/__init__.py", folder / "pipelines")
        self.rate(1)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
            subprocess.run(["git", *command], cwd=folder, env=self.environment(), check=True)

    def rate(self, rate: int) -> None:
        """Change what all trainings depend on."""
        lines = "".join(f"- {item}\n" for item in self.items)
        (self.folder / "params.yaml").write_text(f"rate: {rate}\nitems:\n{lines}")

    def clear(self) -> None:
        """Remove all results and what DVC knows of them."""
        for name in ("runs", "report", ".state", ".dvc/cache", ".dvc/tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "dvc.lock").unlink(missing_ok=True)

    @staticmethod
    def environment() -> dict[str, str]:
        """Of commands in this project."""
        bin_folder = Path(sys.executable).parent
        names = {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        return (
            os.environ
            | names
            | {
                "PATH": f"{bin_folder}:{os.environ['PATH']}",
                "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            }
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command in a session of its own, with its output in pipes; Ctrl-C ends it though it does not end the tests.

        A shell makes what it starts in the background ignore Ctrl-C.
        """
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command, and what it printed."""
        return subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True)

    def repro(self, *options: str) -> list[str]:
        """Command `deps repro` of this environment."""
        return [sys.executable, "-m", "deps", "repro", *options]

    def lock(self) -> bytes:
        """Content of dvc.lock."""
        return (self.folder / "dvc.lock").read_bytes()

    def processes(self) -> list[int]:
        """Processes that work in this folder."""
        return processes_in(self.folder)


def processes_in(folder: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if os.readlink(path / "cwd") == str(folder.resolve()):
                found.append(int(path.name))
    return found

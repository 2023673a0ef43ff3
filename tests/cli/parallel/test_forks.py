"""Items and stages that a server forks: they find what new processes find, and the sources as they are now."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from dεps.cli.parallel import forks
from dεps.cli.parallel.forks import STAGE, Began
from tests.conftest import ROOT
from tests.tools.toy import Toy

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")]
#: a stage that notes what it finds
FACTS = """
import pipelines, numpy, torch
from dεps.core.process import guarded

def facts():
    import gc, json, locale, os, random, resource, signal, sys, threading, warnings
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGUSR2)
    with open("/proc/self/cmdline") as file:
        forked = "parallel.forks" in file.read()
    streams = (sys.stdin, sys.stdout, sys.stderr)
    item = sys.argv[2]
    return forked, {
        "arguments": sys.argv, "name": __name__, "main": sys.modules["__main__"].__dict__ is globals(),
        "package": __package__, "file": __file__, "path": sys.path, "folder": os.getcwd(),
        "finders": [str(finder).split(" at ")[0] for finder in sys.meta_path],
        "environment": {k: v for k, v in os.environ.items() if k not in ("_", "PWD", "OLDPWD", "SHLVL")},
        "signals": [str(signal.getsignal(number)).split(" at ")[0] for number in numbers],
        "collector": [gc.isenabled(), gc.get_threshold(), gc.callbacks],
        "warnings": sorted(str(one) for one in warnings.filters),
        "hooks": [sys.excepthook is sys.__excepthook__, threading.excepthook is threading.__excepthook__],
        "streams": [[one.encoding, one.errors, one.line_buffering, one.isatty(), one.name, one.fileno()]
                    for one in streams],
        "locale": locale.setlocale(locale.LC_ALL), "decimal": locale.localeconv()["decimal_point"],
        "threads": [threading.active_count(), threading.current_thread() is threading.main_thread()],
        "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")),
        "limits": [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_STACK)],
        # not torch's seed, which is another one in each process
        "torch": [torch.get_num_threads(), torch.is_grad_enabled(),
                  torch.get_num_interop_threads(), str(torch.get_default_dtype()), torch.cuda.is_initialized(),
                  torch.are_deterministic_algorithms_enabled(), torch.backends.cpu.get_cpu_capability(),
                  torch.__config__.parallel_info()],
        "numpy": [str(numpy.geterr()), str(numpy.get_printoptions())],
        "random": random.getrandbits(60) != random.Random(0).getrandbits(60),
    }

def note():
    import json
    forked, found = facts()
    with open(f".state/facts-{sys.argv[1]}-{sys.argv[2]}.json", "w") as file:
        json.dump([forked, found], file)

import os, sys
os.makedirs(".state", exist_ok=True)
guarded(note)
"""


def facts(toy: Toy) -> dict[str, list]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((toy.folder / ".state").glob("facts-*.json"))}


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_forked_stage_finds_what_a_new_process_finds(tmp_path):
    (tmp_path / "one").mkdir()
    toy = Toy(tmp_path / "one", 2, FACTS)
    assert toy.run("dvc", "repro").returncode == 0
    by_dvc = facts(toy)
    toy.clear()
    done = toy.run(*toy.repro("-j", "2"))
    assert done.returncode == 0, done.stderr
    forked = facts(toy)
    assert list(forked) == list(by_dvc)
    assert len(forked) == 6
    for name, (is_forked, found) in forked.items():
        assert is_forked, name
        was_forked, expected = by_dvc[name]
        assert not was_forked
        assert not {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]}, name
    assert (toy.folder / forks.LOG).read_text() == ""


def test_what_a_shell_or_another_program_would_change_is_no_stage():
    found = STAGE.fullmatch("python -m pipelines.train --experiment quick --method deps --seed 0")
    assert found
    assert found.groups() == ("train", " --experiment quick --method deps --seed 0")
    for command in (
        "python pipelines/train.py",
        "python3 -m pipelines.train",
        "torchrun --nproc-per-node 2 -m pipelines.train --seed 0",
        "python -m pipelines.train --name 'a b'",
        "python -m pipelines.train > log",
        "python -m pipelines.train --name $HOME",
        "python -m pipelines.train; rm x",
        "python -m pipelines.train\npython -m pipelines.evaluate",
        "python -m  pipelines.train",
        "X=1 python -m pipelines.train",
        "python -m other.train",
    ):
        assert not STAGE.fullmatch(command), command


def test_another_environment_folder_or_python_is_not_the_servers(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BASH_ENV", raising=False)
    environment = Toy.environment()
    for name in ("PATH", "PYTHONPATH"):
        monkeypatch.setenv(name, environment[name])
    began, here = Began(), os.getcwd()
    own = dict(os.environ)
    assert began.allows(here, own)
    assert began.allows(here, own | {"DVC_STAGE": "x", "DVC_ROOT": here, "CUDA_VISIBLE_DEVICES": "1"})
    assert not began.allows(here, own | {"OMP_NUM_THREADS": "7"})
    assert not began.allows(here, {key: value for key, value in own.items() if key != "PYTHONPATH"})
    assert not began.allows(here, own | {"BASH_ENV": "x"})
    assert not began.allows(str(tmp_path), own)
    (tmp_path / "python").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", f"{tmp_path}:{own['PATH']}")
    assert not Began().allows(here, dict(os.environ))


def test_an_edit_of_a_source_file_reaches_the_items_that_begin_after_it(tmp_path):
    shutil.copytree(ROOT / "dεps", tmp_path / "dεps", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "deps", tmp_path / "deps", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "dεps/core/hashing.py"
    text = source.read_text()
    source.write_text(f"{text}\nMARK = 'before'\n")
    imports = "import sys, torch\nfrom dεps.core.hashing import MARK\nprint(MARK, open('/proc/self/cmdline').read())\n"
    toy = Toy(tmp_path, 2, imports)
    (tmp_path / "sleep.txt").write_text("60")
    process = toy.start(*toy.repro("-j", "2"))
    until(lambda: all("begins" in log(toy, f"train@i{number}") for number in (0, 1)))
    source.write_text(f"{text}\nMARK = 'afterwards'\n")
    (tmp_path / "sleep.txt").write_text("0")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    for name in ("prepare", "train@i0", "train@i1", "evaluate@i0", "evaluate@i1", "report"):
        assert "parallel.forks" in log(toy, name)
        mark = "before" if name.startswith(("prepare", "train")) else "afterwards"
        assert f"\n{mark} " in log(toy, name), name


def log(toy: Toy, name: str) -> str:
    path = toy.folder / f".state/logs/{name}.log"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("busy", [True, False])
def test_when_the_server_is_killed_its_items_go_on_as_processes(tmp_path, busy):
    toy = Toy(tmp_path, 2, "import sys, torch\nprint(open('/proc/self/cmdline').read())\n")
    (tmp_path / "sleep.txt").write_text("60" if busy else "0")
    process = toy.start(*toy.repro("-j", "2"))
    until(lambda: server_of(toy))
    if busy:
        until(lambda: all("begins" in log(toy, f"train@i{number}") for number in (0, 1)))
    os.kill(server_of(toy), signal.SIGKILL)
    (tmp_path / "sleep.txt").write_text("0")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "parallel.forks" not in log(toy, "report")
    assert toy.run("dvc", "status", "--quiet").returncode == 0
    assert toy.processes() == []


def server_of(toy: Toy) -> int:
    """Number of the process that forks, which is no child of one that does; 0 if there is none."""
    found = [number for number in toy.processes() if b"parallel.forks" in Path(f"/proc/{number}/cmdline").read_bytes()]
    parents = {number: int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1]) for number in found}
    return next((number for number, parent in parents.items() if parent not in found), 0)


def test_beside_a_thread_nothing_is_forked(tmp_path, monkeypatch):
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
    libraries = tmp_path / "site-packages"
    libraries.mkdir()
    (libraries / "starts.py").write_text(thread)
    monkeypatch.setenv("PYTHONPATH", str(libraries))
    toy = Toy(tmp_path, 1, "import starts, sys\nprint(open('/proc/self/cmdline').read())\n")
    done = toy.run(*toy.repro("-j", "2"))
    assert done.returncode == 0, done.stderr
    assert (toy.folder / forks.LOG).read_text() == "a library has started a thread: nothing is forked\n"
    assert all("parallel.forks" not in log(toy, name) for name in ("prepare", "train@i0", "evaluate@i0", "report"))


def test_a_users_own_module_is_imported_by_each_stage(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/module.py").write_text("MARK = 'before'\n")
    imports = "import sys, own.module, torch\nprint(own.module.MARK, open('/proc/self/cmdline').read())\n"
    toy = Toy(tmp_path, 1, imports)
    (tmp_path / "sleep.txt").write_text("5")
    process = toy.start(*toy.repro("-j", "2"))
    until(lambda: "begins" in log(toy, "train@i0"))
    (tmp_path / "own/module.py").write_text("MARK = 'afterwards'\n")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "parallel.forks" in log(toy, "report")
    assert "\nbefore " in log(toy, "train@i0")
    assert "\nafterwards " in log(toy, "report")


def test_of_several_commands_the_first_stage_is_forked(tmp_path):
    toy = Toy(tmp_path, 1, "import sys\nprint(open('/proc/self/cmdline').read())\n")
    command = "python -m pipelines.work report one report/page"
    pipeline = toy.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace(f"cmd: {command}", f"cmd: ['echo', '{command}', '{command}']"))
    done = toy.run(*toy.repro("-j", "2"))
    assert done.returncode == 0, done.stderr
    assert log(toy, "report").count("parallel.forks") == 1
    assert log(toy, "report").count("begins") == 2


def test_files_that_are_not_there_change_no_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(forks, "SOURCES", ("made",))
    (tmp_path / "made/deeper").mkdir(parents=True)
    for name in ("made/__init__.py", "made/deeper/one.py"):
        (tmp_path / name).write_text("")
    before = forks.signature()
    assert [Path(found[0]).name for found in before] == ["__init__.py", "one.py"]
    (tmp_path / "made/.#one.py").symlink_to("someone@host.1:2")  # Emacs, of a file with changes that aren't saved
    assert forks.signature() == before
    (tmp_path / "made/deeper/one.py").write_text("x = 1\n")
    assert forks.signature() != before


def test_errors_and_exit_codes_are_those_of_a_process(tmp_path):
    imports = "import sys\nif sys.argv[2] == 'i0': raise ValueError('a mistake')\nif sys.argv[2] == 'i1': sys.exit(7)\n"
    toy = Toy(tmp_path, 2, imports)
    done = toy.run(*toy.repro("-j", "2"))
    assert done.returncode == 2
    assert "train@i0 failed" in done.stderr
    assert "Traceback" in log(toy, "train@i0")
    assert "ValueError: a mistake" in log(toy, "train@i0")
    assert "failed to run: python -m pipelines.work train i1" in log(toy, "train@i1")
    assert "exited with 7" in log(toy, "train@i1")

import gc
import os
import signal
import subprocess
import sys
import warnings
from importlib import import_module

import click
import pytest

from dεps.core import process
from dεps.core.errors import OUT_OF_MEMORY, UserError
from dεps.core.process import guarded, settle
from tests.conftest import ROOT

#: prints what differs after every module has been imported, all that they import from elsewhere being there before
IMPORTS = """
import ast, gc, importlib, os, signal, sys, warnings
from pathlib import Path
files = [path for folder in ("dεps", "pipelines", "deps") for path in sorted(Path(folder).rglob("*.py"))]
for path in files:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            # the extra litert, which the lock has not, is imported in functions alone
            if name and name.split(".")[0] not in ("dεps", "deps", "pipelines", "litert_torch", "ai_edge_litert"):
                importlib.import_module(name)

def state():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    return dict(os.environ), list(warnings.filters), handlers, gc.isenabled(), gc.get_freeze_count()

before = state()
for path in files:
    if path.name != "__main__.py" and "fashion_mnist_mini" not in path.parts:
        importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
names = ("environment", "warnings", "signals", "gc", "freeze")
print([name for name, old, new in zip(names, before, state()) if old != new])
"""


@pytest.mark.slow
def test_imports_decide_nothing():
    unset = {*process.ENVIRONMENT, *process.SILENT}
    own = {key: value for key, value in os.environ.items() if key not in unset}
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("work", ["time.sleep(60)", "guarded(lambda: time.sleep(60))"])
def test_a_signal_is_one_line_from_the_first_moment(number, code, word, work):
    program = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += f"from dεps.core.process import begin, guarded; begin(); print(1, flush=True); {work}"
    pipe = subprocess.PIPE
    running = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    running.stdout.readline()
    running.send_signal(number)
    assert running.communicate(timeout=60)[1] == f"{word}\n"
    assert running.returncode == code


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_within_a_finalizer_is_not_lost(number, code, word):
    program = """
import time
from dεps.core.process import begin, guarded
class Slow:
    def __del__(self):
        print(1, flush=True)
        time.sleep(5)
def work():
    Slow()
    time.sleep(60)
    print("went on")
begin(); guarded(work)
"""
    program = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{program}"
    pipe = subprocess.PIPE
    running = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    running.stdout.readline()
    running.send_signal(number)
    assert running.communicate(timeout=30) == ("", f"{word}\n")
    assert running.returncode == code


def test_what_a_finalizer_raises_by_itself_is_shown():
    program = """
from dεps.core.process import guarded
class Wrong:
    def __del__(self):
        raise ValueError("a finalizer's own")
guarded(lambda: Wrong() and None)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "ValueError: a finalizer's own" in done.stderr


def test_ctrl_c_passes_by_what_runs_in_the_background():
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    program += "from dεps.core.process import begin, guarded; begin()\n"
    program += "guarded(lambda: signal.raise_signal(signal.SIGINT)); print('done')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"


def test_garbage_is_collected_while_working_only():
    program = "import gc; from dεps.core.process import begin, guarded; begin(); print(gc.isenabled())\n"
    program += "guarded(lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue True\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("key is wrong; allowed: right"), 2, "error: key is wrong; allowed: right\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(28, "No space left on device", "some/file"), 2, "error: some/file: No space left on device\n"),
        (OSError(28, "No space left on device"), 2, "error: writing failed: No space left on device\n"),
        (MemoryError(), 2, f"{OUT_OF_MEMORY}\n"),
        (RuntimeError("CUDA error: out of memory"), 2, f"{OUT_OF_MEMORY}\n"),
    ],
)
def test_errors_are_one_line(capsys, error, code, message):
    def fail():
        raise error

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        guarded(fail)
    assert caught.value.code == code
    assert capsys.readouterr().err == message
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("no number"), RuntimeError("a bug"), SystemExit(7)])
def test_errors_of_the_program_are_not_hidden(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        guarded(fail)
    assert caught.value is error


def test_a_program_may_know_other_errors(capsys):
    def fail():
        raise click.Abort

    with pytest.raises(SystemExit) as caught:
        guarded(fail, lambda error: ("aborted", 5))
    assert (caught.value.code, capsys.readouterr().err) == (5, "aborted\n")
    assert guarded(lambda: 7) == 7
    assert gc.isenabled()


def test_what_users_have_set_stays_but_no_password_is_printed(monkeypatch):
    for name in (*process.ENVIRONMENT, *process.SILENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "false")
    settle(portable=False)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "120"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] == "true"


def test_warnings_that_say_nothing_to_a_user_are_silent():
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        settle(portable=False)
        for module, kind in (("PIL.TiffImagePlugin", UserWarning), ("mlflow.store", UserWarning)):
            warnings.warn_explicit("x", kind, "file.py", 1, module)
        for module in ("optuna.storages", "dεps.tuning.study"):
            warnings.warn_explicit("Argument x is an experimental feature", Warning, "file.py", 1, module)
        warnings.warn_explicit("x", UserWarning, "file.py", 1, "dεps.training.loop")
        warnings.warn_explicit("x", UserWarning, "file.py", 1, "mlflower")
    assert [str(warning.message) for warning in seen] == ["x", "x"]


def test_a_process_computes_with_one_thread_unless_told_otherwise(tmp_path, monkeypatch):
    code = "from dεps.core.process import begin; begin(); import torch; print(torch.get_num_threads())"
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", code]
    counts = [
        subprocess.run(command, cwd=tmp_path, env=environment | more, capture_output=True, text=True, check=True).stdout
        for more in ({}, {"OMP_NUM_THREADS": "2"})
    ]
    assert counts == ["1\n", "2\n"]
    for text, threads in (("3", 3), ("", 1), ("0", 1), ("4,2", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert process.threads() == threads


@pytest.mark.parametrize(
    ("line", "portable"),
    [
        ("portable: true", True),
        ("portable: True  # for all of us", True),
        ("portable: false", False),
        ("# portable: true", False),
        ("other:\n  portable: true", False),
        ("portable: true or so", False),
    ],
)
def test_portable_params_choose_the_kernels_before_libraries_are_loaded(tmp_path, line, portable):
    (tmp_path / "params.yaml").write_text(f"names: [quick]\n{line}\n")
    code = "from dεps.core import process as p; p.begin(); print(p.is_portable(), p.threads())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "MKL_CBWR": "AUTO"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == ("True 1\n" if portable else "False 2\n"), done.stderr


def test_it_is_too_late_for_portable_params_once_torch_is_loaded(tmp_path, monkeypatch):
    for name in process.PORTABLE:
        monkeypatch.setenv(name, "other")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("portable: true\n")
    import_module("torch")
    with pytest.raises(SystemExit, match=r"^error: params\.yaml says portable: true only since this process began"):
        settle()
    assert os.environ["MKL_CBWR"] == "other"


def test_the_kernels_of_portable_params_are_noted(monkeypatch):
    for name, text in process.PORTABLE.items():
        monkeypatch.setenv(name, text)
    assert process.is_portable()
    assert process.kernels() == {name: text for name, text in process.PORTABLE.items() if name in process.KERNELS}
    monkeypatch.setenv("MKL_CBWR", "AUTO")
    assert not process.is_portable()

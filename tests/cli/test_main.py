import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from dεps.cli.completion import SHELLS
from dεps.cli.main import EXIT_CODES, SECTIONS, command_files, main
from dεps.report.results import NEEDED
from tests.conftest import ROOT, quick_text


def environment(**values):
    return {**os.environ, "PYTHONPATH": str(ROOT), **values}


def test_help_lists_every_command_once_below_its_section():
    text = CliRunner().invoke(main, ["--help"]).output
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
    known = [name for names in SECTIONS.values() for name in names]
    assert [name for name in listed if name in command_files()] == known
    assert sorted(known) == sorted(command_files())
    headings = [line.removesuffix(":") for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == ["Options", *SECTIONS, "Exit codes"]
    assert all(f"\n  {code} " in text for code, _ in EXIT_CODES)


def test_a_command_of_no_section_is_listed_below_other(monkeypatch):
    monkeypatch.delitem(SECTIONS, "Tuning")
    lines = CliRunner().invoke(main, ["--help"]).output.splitlines()
    place = lines.index("Other:")
    assert lines[place + 1].split()[0] == "tune"
    assert "Tuning:" not in lines[:place]


def test_only_the_command_that_runs_is_imported():
    code = "import sys; sys.argv = ['deps', 'completion', 'bash']\nfrom dεps.cli.main import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print(sorted(name for name in sys.modules if name.startswith('dεps.cli.')))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['dεps.cli.completion', 'dεps.cli.main']"


def test_help_is_quick_and_imports_nothing_heavy():
    code = "import sys; sys.argv = ['deps', '--help']\nfrom dεps.cli.main import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'mlflow', 'hydra', 'pandas', 'rich', 'yaml') if name in sys.modules])"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - started < 3, "0.1 s on an idle machine"


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_ask_deps(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_DEPS_COMPLETE={shell}_complete" in result.output


def completed(words, folder):
    line = words.split(" ")
    values = {"_DEPS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(line) - 1)}
    code = "import sys; sys.argv = ['deps']; from dεps.cli.main import main; main(prog_name='deps')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**values), cwd=folder, capture_output=True, text=True, check=True
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("deps tu", ["tune"]),
        ("deps tune qu", ["quick"]),
        (
            "deps evaluate x --experiment imagenet1",
            ["imagenet100", "imagenet100_cpu", "imagenet100_small", "imagenet1k"],
        ),
        ("deps import x --space mbv3_mi", ["mbv3_micro", "mbv3_micro_32", "mbv3_micro_64"]),
        ("deps params methods=[r", ["methods=[rss]", "methods=[rss_short]"]),
        ("deps params experiment=[q", ["experiment=[quick]"]),
        ("deps tune --wo", ["--workers"]),
    ],
)
def test_names_are_completed(words, expected):
    assert completed(words, ROOT) == expected


def test_elsewhere_the_packages_names_are_completed(tmp_path):
    assert completed("deps tune qu", tmp_path) == ["quick"]
    (tmp_path / "params").mkdir()
    assert completed("deps tune qu", tmp_path) == [""]  # an empty line


def test_show_gives_all_metrics_as_json(monkeypatch):
    if not (ROOT / "runs/quick/search").exists():
        pytest.skip("there are no results; 'dvc repro' makes them")
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["show", "--json"])
    if result.exit_code:
        pytest.skip(result.output)
    quick = json.loads(result.stdout)["experiments"]["quick"]
    for method, seeds in quick["methods"].items():
        for seed, metrics in seeds.items():
            assert {name for names in NEEDED.values() for name in names} <= set(metrics)
            evaluated = json.loads(Path(f"runs/quick/evaluate/{method}-{seed}/metrics.json").read_text())
            assert metrics["pareto/mean_top1"] == evaluated["pareto/mean_top1"]
    assert quick["reference"]["reference/full_model_top1"] > 0


def test_show_without_results_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(quick_text())
    result = CliRunner().invoke(main, ["show", "--json"])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1


def test_show_claims_needs_no_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(quick_text())
    result = CliRunner().invoke(main, ["show", "claims", "--json"])
    assert result.exit_code == 0, result.output
    found = {claim["claim"]: claim["verdict"] for claim in json.loads(result.stdout)["claims"]}
    assert (found["deps_smallest"], found["deps_cost"]) == ("not tested here", "supported")
    result = CliRunner().invoke(main, ["show", "archs", "--into", "README.md"])
    assert result.exit_code == 2
    assert "--into is README.md with archs; expected deps show claims --into README.md" in result.output


def started(folder, *arguments):
    """A command in a process of its own that Ctrl-C reaches, even where a shell runs the tests in the background."""
    command = [sys.executable, "-m", "deps", *arguments]
    default = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, env=environment(), cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=default
    )


def interrupted(process):
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted; the same command goes on from what is saved"
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_track_that_waits_can_be_interrupted(tmp_path):
    (tmp_path / "params.yaml").write_text(quick_text())
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = started(tmp_path, "track", "--uri", uri)
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            interrupted(process)


@pytest.mark.slow
def test_a_plan_that_measures_can_be_interrupted(tmp_path):
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "params.yaml").write_text(quick_text())
    process = started(tmp_path, "plan", "--steps", "1000")
    time.sleep(8)
    interrupted(process)

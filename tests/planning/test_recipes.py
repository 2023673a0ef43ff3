"""Commands of docs/mlflow.md that need a server, as they stand there, on this machine."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SECRET = "long-enough-a-secret"
#: what a user of the server does with it, and what somebody else may not
USE = """
from pathlib import Path
from mlflow import MlflowClient
from dεps.tracking.store import Store
client = Store().client
experiment = client.create_experiment("recipe")
run = client.create_run(experiment).info.run_id
client.log_metric(run, "pareto/mean_top1", 80.0)
Path("table.csv").write_text("a,b")
client.log_artifact(run, "table.csv")
assert [item.path for item in client.list_artifacts(run)] == ["table.csv"]
print("user:", client.get_run(run).data.metrics)
"""


def commands(heading: str) -> list[str]:
    """What is typed in the console blocks below a heading of docs/mlflow.md, lines put together."""
    section = (ROOT / "docs/mlflow.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    text = "".join(blocks).replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def test_the_shared_mlflow_server(postgresql, tmp_path):
    if not shutil.which("curl") or not shutil.which("createdb"):
        pytest.skip("curl or createdb is not installed")
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    database = int(postgresql.rpartition(":")[2].partition("/")[0])
    lines = []
    for line in commands("A shared MLflow server"):
        line = line.split("    #")[0].replace("5055", port).replace("…", SECRET)
        line = line.replace("me@127.0.0.1/", f"postgres@127.0.0.1:{database}/").replace(
            "-u admin ", f"-u admin:{SECRET} "
        )
        line = re.sub("^pip install .*? && ", "", line)  # is installed
        if "mlflow server" in line:
            line += f" > server.log 2>&1 &\ncurl --retry 60 --retry-delay 1 --retry-all-errors -s http://127.0.0.1:{port}/health"
        lines.append(line)
    (tmp_path / "use.py").write_text(USE)
    anonymous = (
        f"curl -s -o /dev/null -w 'anonymous: %{{http_code}}' http://127.0.0.1:{port}/api/2.0/mlflow/users/current"
    )
    script = ["set -e", "trap 'kill 0' EXIT", *lines, "python use.py", anonymous]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PG"))}
    environment |= {"PGHOST": "127.0.0.1", "PGPORT": str(database), "PGUSER": "postgres", "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        start_new_session=True,
    )
    log = (tmp_path / "server.log").read_text() if (tmp_path / "server.log").exists() else ""
    assert "user: {'pareto/mean_top1': 80.0}" in done.stdout, done.stdout + done.stderr + log[-3000:]
    assert "anonymous: 401" in done.stdout

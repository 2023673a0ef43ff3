import json
import os
import socket
from urllib.parse import parse_qs

import pytest

from dεps.tracking import ui
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from tests.tools.refusals import refusal


def test_links_lead_to_the_runs_of_the_selected_methods(workspace, capsys):
    store = Store()
    sync(workspace, store)
    experiment = store.experiment_id("quick")
    links = ui.comparison(workspace, store)["quick"]
    ids = json.loads(parse_qs(links["their parameters and metrics"].partition("?")[2])["runs"][0])
    assert [store.client.get_run(run_id).info.run_name for run_id in ids] == ["deps-0", "rss-0"]
    assert set(ui.comparison(workspace | {"methods": ["rss"]}, store)) == {"quick"}
    ui.print_links("http://127.0.0.1:1", workspace, store.uri)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"MLflow of {store.uri}: http://127.0.0.1:1"
    assert lines[1].startswith(f"  quick, methods in a table: http://127.0.0.1:1/#/experiments/{experiment}/runs?")
    assert len(lines) == 4


def test_a_store_without_runs_has_no_links(workspace, capsys):
    ui.print_links("http://127.0.0.1:1", workspace, Store().uri)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_busy_port_is_one_line(workspace):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refusal(lambda: ui.serve("127.0.0.1", port), str(port))
    assert message == f"127.0.0.1:{port} cannot be listened on (Address already in use); choose with --host and --port"


def test_the_server_gets_the_address_by_the_environment(workspace, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(ui.subprocess, "Popen", lambda command, **options: started.append((command, {})))
    monkeypatch.setattr(ui.os, "execve", lambda program, command, environment: started.append((command, environment)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(ui, "read_params", lambda: workspace)
    ui.serve("127.0.0.1", port)
    (follower, _), (command, environment) = started
    assert follower[1:] == ["-m", "dεps.tracking.follow", str(os.getpid())]
    assert command[1:] == ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    assert environment["MLFLOW_BACKEND_STORE_URI"] == Store().uri
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_a_servers_address_is_shown_without_its_password():
    assert ui._plain("https://me:geheim@host:5055/ml/?a=b") == "https://host:5055/ml"


@pytest.mark.parametrize("uri", ["http://me:geheim@127.0.0.1:9", "postgresql://me:geheim@127.0.0.1:9/db"])
def test_a_store_that_is_not_there_is_one_line(workspace, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(ui, "read_params", lambda: workspace)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = refusal(lambda: ui.serve("127.0.0.1", port), "127.0.0.1:9")
    assert message.startswith("MLflow at ")
    assert "geheim" not in message

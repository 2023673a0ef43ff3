import os
import socket

import pytest

from dεps.data.manifest import prepared_folder
from dεps.tracking import ui
from dεps.tracking.server import HOME
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from dεps.tracking.views import VIEW_TAG, charts_link, table_link, view_tag
from tests.tools.refusals import refusal


def test_links_lead_to_the_saved_view_of_the_selected_experiments(workspace, capsys):
    store = Store()
    sync(workspace, store)
    experiment = store.experiment_id("quick")
    links = ui.print_links("http://127.0.0.1:1", workspace, store.uri)
    assert links == {"quick": (table_link(experiment), charts_link(experiment))}
    assert capsys.readouterr().out.splitlines() == [
        f"MLflow of {store.uri}: http://127.0.0.1:1",
        f"  quick in charts: http://127.0.0.1:1/{charts_link(experiment)}",
        f"  quick in a table: http://127.0.0.1:1/{table_link(experiment)}",
    ]


def test_an_experiment_that_has_no_results_yet_has_a_view_for_its_trainings(workspace):
    store = Store()
    experiment = store.experiment_id("quick")
    assert VIEW_TAG not in store.client.get_experiment(experiment).tags
    assert set(ui.comparison(workspace, store)) == {"quick"}
    before = store.client.get_experiment(experiment).tags
    assert before[VIEW_TAG] == view_tag(["method.method"])
    sync(workspace, store)
    assert store.client.get_experiment(experiment).tags.items() >= before.items()


def test_without_prepared_data_there_is_no_link(workspace, capsys):
    prepared_folder("quick").joinpath("manifest.json").unlink()
    assert ui.print_links("http://127.0.0.1:1", workspace, Store().uri) == {}
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
    assert command[1:] == ["-m", "dεps.tracking.server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    assert environment["MLFLOW_BACKEND_STORE_URI"] == Store().uri
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment[HOME] == charts_link(Store().experiment_id("quick"))


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

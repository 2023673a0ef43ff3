"""Starts MLflow's UI on the store, and prints links to the comparison of methods (`deps ui`)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from dεps.core.console import say
from dεps.core.errors import UserError
from dεps.core.params import read_params
from dεps.tracking.address import masked, reason, tracking_uri
from dεps.tracking.private import compare_link
from dεps.tracking.store import FAILURES, Store
from dεps.tracking.sync import TRAIN, instances
from dεps.tracking.views import charts_link, table_link


def serve(host: str, port: int) -> None:
    """Print the links, then become the server, unless the store is one. Raises `UserError` if the port is in use."""
    uri = tracking_uri()
    if uri.startswith("http"):
        print_links(_plain(uri), read_params(), uri)
        return
    _check_free(host, port)
    print_links(f"http://{f'[{host}]' if ':' in host else host}:{port}", read_params(), uri)
    _become_server(host, port, uri)


def print_links(base: str, params: dict[str, Any], uri: str) -> None:
    """Print the UI's address, and where methods of the selected experiments are compared. Raises `UserError`."""
    try:
        experiments = comparison(params, Store(uri))
    except FAILURES as error:
        raise UserError(f"MLflow at {masked(uri, uri)} cannot be used ({reason(error, uri)})") from None
    say(f"MLflow of {masked(uri, uri)}: {base}")
    for name, links in experiments.items():
        for what, link in links.items():
            say(f"  {name}, {what}: {base}/{link}")


def comparison(params: dict[str, Any], store: Store) -> dict[str, dict[str, str]]:
    """Return, by selected experiment that has runs, links to its methods in a table, in charts and by parameters."""
    runs: dict[str, list[str]] = {}
    for context in instances(params):
        there = context.stage == TRAIN and (context.data_folder() / "manifest.json").exists()
        if there and (run := store.run_of(context)):
            runs.setdefault(context.experiment, []).append(run.info.run_id)
    links: dict[str, dict[str, str]] = {}
    for name, ids in runs.items():
        experiment = store.experiment_id(name)
        links[name] = {"methods in a table": table_link(experiment), "in charts": charts_link(experiment)}
        links[name]["their parameters and metrics"] = compare_link(experiment, ids)
    return links


def _plain(uri: str) -> str:
    """Return a server's address without user name and password."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((host, port))
        except OSError as error:
            why = error.strerror or "no such address"
            raise UserError(f"{host}:{port} cannot be listened on ({why}); choose with --host and --port") from None


def _become_server(host: str, port: int, uri: str) -> NoReturn:
    """Start a process that follows trainings, and replace this one by `mlflow ui`; both end on Ctrl-C."""
    follower = [sys.executable, "-m", "dεps.tracking.follow", str(os.getpid())]
    subprocess.Popen(follower, stdin=subprocess.DEVNULL)
    # In the environment, because lists of processes must not show an address with a password.
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    sys.stdout.flush()
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port), "--workers", "1"]
    os.execve(sys.executable, command, environment)  # noqa: S606 - a list, without a shell

"""A real MLflow server behind a proxy that can be made to fail, and trainings that wait for a sign."""

import copy
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import yaml

from dεps.core.files import write_atomic
from dεps.data.manifest import prepared_folder
from tests.conftest import ROOT, quick_params

FULL = b'{"error_code": "INTERNAL_ERROR", "message": "(sqlite3.OperationalError) database or disk is full"}'
#: status and body that the proxy answers
ANSWERS = {
    "500": (500, b"oops\n" * 9),
    "403": (403, b"not\nyou"),
    "full": (500, FULL),
    "no mlflow": (200, b"<html>hello"),
}
PASSWORD = "geheim"


class Proxy:
    """Forwards requests, or does what `mode` says: dead, hang, drip, or one of ANSWERS.

    Args:
        port: where the server listens.
    """

    def __init__(self, port: int) -> None:
        self.upstream, self.mode, self.changed = port, "forward", Event()
        self.seen: list[str] = []  # requests since the last switch
        self.fault: tuple[str, str] | None = None
        self.port = free_port()
        self._listen()

    @property
    def uri(self) -> str:
        """With a password, which must not be seen anywhere."""
        return f"http://me:{PASSWORD}@127.0.0.1:{self.port}"

    def switch(self, mode: str) -> None:
        """From now on, in open connections too."""
        listens = self.mode != "dead"
        self.mode, self.fault = mode, None
        self.seen.clear()
        self.changed.set()
        self.changed = Event()
        if mode == "dead" and listens:
            self.close()
        elif mode != "dead" and not listens:
            self._listen()

    def switch_at(self, request: str, mode: str) -> None:
        """As soon as a request comes that begins so, such as `PUT /api/2.0/mlflow-artifacts`."""
        self.fault = request, mode

    def close(self) -> None:
        """Refuse connections."""
        self.server.shutdown()
        self.server.server_close()

    def _listen(self) -> None:
        methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
        handler = type("Handler", (_Handler,), {f"do_{name}": lambda handler: self.answer(handler) for name in methods})
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = f"{handler.command} {handler.path}"
        if self.fault and request.startswith(self.fault[0]):
            Thread(target=self.switch, args=(self.fault[1],)).start()
            while self.fault:
                time.sleep(0.01)
        self.seen.append(request)
        if self.mode == "forward":
            self._forward(handler, body)
        elif self.mode in ANSWERS:
            status, text = ANSWERS[self.mode]
            # With what a server says that wants to be left alone.
            handler.reply(status, text, {"Retry-After": "600"})
        else:
            self._misbehave(handler)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        headers = {key: text for key, text in handler.headers.items() if key.lower() != "connection"}
        connection.request(handler.command, handler.path, body, headers)
        answer = connection.getresponse()
        kind = {"Content-Type": answer.headers.get("Content-Type", "text/plain")}
        handler.reply(answer.status, answer.read(), kind)
        connection.close()

    def _misbehave(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        if self.mode == "hang":
            self.changed.wait()
        elif self.mode == "drip":  # until the client has enough
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while True:
                handler.wfile.write(b"z")
                time.sleep(0.2)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, text in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):  # the client is gone
            super().handle()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def mlflow_server(folder: Path):
    """Port of a server with an sqlite store and a folder of artifacts; it ends with the block."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "a"),
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "server.log").read_text()
            with suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError((folder / "server.log").read_text())
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


#: stage `train` that waits after its first epoch for a file `go-<experiment>`, and says whether it has MLflow
SCRIPT = """
import sys
import time
from pathlib import Path
from dεps.workspace.stage import run
from pipelines import train

class Gated(train.Trainer):
    def run(self):
        for record in super().run():
            yield record
            while record["epoch"] == 1 and not Path(f"go-{sys.argv[2]}").exists():
                time.sleep(0.02)

train.Trainer = Gated
run("train", train.work, ("experiment", "method", "seed"))
print("tracking:", sorted(name for name in sys.modules if name == "mlflow" or name.startswith("dεps.tracking")))
"""


#: `deps track --follow` that tries again soon
FOLLOWER = """
from dεps.core.process import begin, guarded
begin()
from dεps.tracking import follow
follow.PAUSE = follow.LONGEST_PAUSE = follow.LONGEST_REST = 1.0
guarded(follow.follow)
"""


class Workspace:
    """A folder with params and prepared data, in which each experiment is the same training."""

    def __init__(self, folder: Path, prepared: Path) -> None:
        self.folder, self.prepared = folder, prepared
        self.params = quick_params() | {"methods": ["deps"], "seeds": [0], "standalone": ["smallest"], "names": []}
        own = self.params["experiments"]["quick"]
        own["dataset"] |= {"name": "drawn", "source": "image_folder", "image_size": 28, "channels": 1, "root": "x"}
        own["train"] |= {"epochs": 3, "batch_size": 48, "validate_recalibration": 40}
        own["methods"]["deps"] |= {"shrink_start": 0.34, "ramp_epochs": 0.5}
        self.running: list[subprocess.Popen] = []

    def add(self, name: str) -> dict:
        """Params that select an experiment alone, which is written to params.yaml, with its data."""
        self.params["experiments"][name] = copy.deepcopy(self.params["experiments"]["quick"])
        params = self.params | {"names": [name]}
        write_atomic(self.folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))
        shutil.copytree(self.prepared, self.folder / prepared_folder(name), dirs_exist_ok=True)
        return params

    def train(self, name: str, uri: str) -> subprocess.Popen:
        """Start the training of an experiment that has been added."""
        (self.folder / "gated.py").write_text(SCRIPT)
        environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "gated.py", "--experiment", name, "--method", "deps", "--seed", "0"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True)
        self.running.append(process)
        return process

    @contextmanager
    def follow(self, uri: str):
        """A process that follows trainings of this folder, and the file of what it says; it ends with the block."""
        said = self.folder / "follower.log"
        environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT)}
        with said.open("w") as log:
            command = [sys.executable, "-c", FOLLOWER]
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        try:
            yield process, said
        finally:
            process.kill()
            process.wait()

    def go(self, name: str) -> None:
        """Let the training go on after its first epoch."""
        (self.folder / f"go-{name}").touch()

    def close(self) -> None:
        """End trainings that nobody has waited for."""
        for process in self.running:
            process.kill()
            process.communicate()

"""Results that travel by a DVC remote, a folder or SSH: whoever clones draws every figure and trains nothing."""

import asyncio
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest
import yaml

from tests.pipelines.clone import OVERRIDES, Clone, ran
from tests.tools.crash import contents

pytestmark = pytest.mark.slow
#: stand on folders that hold weights among others: without these they are drawn again, and train nothing
DRAWN = {"report@quick", "page", "track"}
WEIGHTS = "runs/quick/train/deps-0/supernet.safetensors"


@contextmanager
def ssh_server(folder: Path):
    """Serve SFTP on this machine to a key written to `folder/key`. Yields the port."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "key")
    allowed = asyncssh.import_authorized_keys(key.export_public_key().decode())

    async def listen() -> asyncssh.SSHAcceptor:
        options = {"server_host_keys": [key], "authorized_client_keys": allowed, "sftp_factory": True}
        return await asyncssh.listen("127.0.0.1", 0, **options)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    try:
        yield server.get_port()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


def leave_out_weights(clone: Clone, leave: bool) -> None:
    """Do what docs/remotes.md says."""
    path = clone.folder / "dvc.yaml"
    before, after = (f"supernet.safetensors: {{push: {value}}}" for value in sorted(["false", "true"], reverse=leave))
    text = path.read_text("utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), "utf-8")


def set_remote(clone: Clone, url: str, **options: str) -> None:
    clone.call("dvc", "remote", "add", "--local", "--default", "store", url)
    for name, value in options.items():
        clone.call("dvc", "remote", "modify", "--local", "store", name, value)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A copy in which everything has run once, committed, whose weights are not to be pushed."""
    clone = Clone(tmp_path_factory.mktemp("clone"), overrides=[*OVERRIDES[:-1], "methods=[deps]"])
    clone.call("deps", "repro", "-j", "2")
    lock = (clone.folder / "dvc.lock").read_bytes()
    leave_out_weights(clone, True)
    assert ran(clone.call("dvc", "repro")) == set()
    assert (clone.folder / "dvc.lock").read_bytes() == lock
    clone.call("git", "add", "-A")
    clone.call("git", "commit", "-qm", "results")
    return clone


def cloned(clone: Clone, folder: Path) -> Clone:
    """What `git clone` makes of it, without any figures."""
    subprocess.run(["git", "clone", "-q", clone.folder, folder], check=True)
    new = Clone.__new__(Clone)
    new.folder = folder
    for path in (*folder.glob("reports/experiments/*/*"), folder / "reports/index.html"):
        path.unlink()
    return new


def check_drawn(clone: Clone, new: Clone) -> None:
    """Every file of the report is back, to the byte, the weights are not, and dvc.lock speaks of no other stage."""
    assert len(list(new.folder.glob("reports/experiments/quick/*.svg"))) > 10
    assert new.call("git", "status", "--porcelain").split() == ["M", "dvc.lock"]
    assert not (new.folder / WEIGHTS).exists()
    assert not (new.folder / ".state/live").exists()  # where trainings leave their notes
    ours, theirs = (yaml.safe_load((one.folder / "dvc.lock").read_text()) for one in (clone, new))
    assert {name for name in ours["stages"] if ours["stages"][name] != theirs["stages"][name]} == DRAWN


def test_a_folder_as_remote_carries_all_but_weights(clone, tmp_path):
    set_remote(clone, str(tmp_path / "store"))
    clone.call("dvc", "push")
    new = cloned(clone, tmp_path / "new")
    set_remote(new, str(tmp_path / "store"))
    assert WEIGHTS in new.call("dvc", "pull", check=False)  # an error, which names what is not there
    new.call("dvc", "pull", "--allow-missing")
    assert ran(new.call("dvc", "repro", "--allow-missing")) == DRAWN
    check_drawn(clone, new)
    # Weights may follow later: then all is as it was, and nothing has to run.
    leave_out_weights(clone, False)
    clone.call("dvc", "push")
    leave_out_weights(clone, True)
    new.call("git", "checkout", "-q", "HEAD", "dvc.lock")
    new.call("dvc", "pull")
    assert ran(new.call("dvc", "repro")) <= {"track"}
    assert contents(new.folder) == contents(clone.folder)


def test_ssh_as_remote_and_several_items_at_once(clone, tmp_path):
    with ssh_server(tmp_path) as port:
        url, options = f"ssh://me@127.0.0.1:{port}{tmp_path}/store", {"keyfile": str(tmp_path / "key")}
        clone.call("dvc", "remote", "remove", "--local", "store", check=False)
        set_remote(clone, url, **options)
        clone.call("dvc", "push")
        new = cloned(clone, tmp_path / "new")
        set_remote(new, url, **options)
        new.call("dvc", "pull", "--allow-missing")
    output = new.call("deps", "repro", "-j", "2", "--allow-missing")
    assert f"{len(DRAWN)} of 14 items brought up to date" in output
    check_drawn(clone, new)

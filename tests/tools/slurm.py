"""A Slurm of its own on this machine: one node of two cores, and two partitions, of which `high` preempts `low`.

Needs root and Debian's packages: apt install slurmctld slurmd slurm-client munge
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str | None:
    """What there is to install, or to be, for Slurm to run here."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"needs {', '.join(missing)}" if missing else None if os.getuid() == 0 else "needs root"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start it with its files in `folder`; yields the environment in which commands find it."""
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(folder=folder, host=socket.gethostname().split(".")[0], ports=free_ports(2)))
    environment = os.environ | {"SLURM_CONF": str(config)}
    files = [
        f"--{kind}={folder}/munge.{kind.split('-')[0]}" for kind in ("socket", "pid-file", "log-file", "seed-file")
    ]
    commands = [
        ["munged", "--force", "--foreground", f"--key-file={key}", *files],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D"],
    ]
    processes = []
    try:
        for command in commands:
            output = (folder / f"{command[0]}.out").open("w")
            processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT))
            time.sleep(1.0)
        until = time.monotonic() + 60
        while "idle" not in _run(environment, "sinfo", "--noheader", "--format=%T"):
            logs = "\n".join(path.read_text()[-1500:] for path in sorted(folder.glob("*.out")))
            assert time.monotonic() < until, f"no node is idle:\n{logs}"
            time.sleep(0.5)
        yield environment
    finally:
        _run(environment, "scancel", "--user", "root")
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def _run(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

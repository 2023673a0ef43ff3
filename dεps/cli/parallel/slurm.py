"""Items as Slurm jobs, by submitit, which puts a job that was preempted or ran out of time into the queue again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dεps.cli.parallel import item
from dεps.cli.parallel.launchers import LauncherConfig, log_path
from dεps.core.errors import UserError
from dεps.workspace.locks import STATE

if TYPE_CHECKING:
    import submitit

#: submitit's files: what a job runs, its result, and what its batch script printed
FOLDER = STATE / "slurm"
#: seconds between two questions to Slurm
ASK_EVERY = 5.0
#: answers without a job, one after the other, after which it is taken to have ended
ABSENT = 3
#: times that a job may run out of its time
TIMEOUTS = 1000


class SlurmItem:
    """What a job does: it runs an item, and returns the exit code."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> int:
        ended: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
        path = log_path(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            process = item.start(self.name, log)
        if code := process.wait():
            time.sleep(2.0)  # who preempts tells all processes of a job, and the item may be faster
            while ended:
                time.sleep(1.0)  # a result would say that the job has ended; it goes back into the queue
        return code

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Return what a requeued job does: the same, which goes on from saved work."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SlurmLauncher:
    """Submits a job an item. What runs ends with this process only if it is interrupted, not if it is killed.

    Args:
        config: what a job asks for.
        jobs: jobs in the queue at once, if not as the config says.
    """

    def __init__(self, config: LauncherConfig, jobs: int | None) -> None:
        try:
            import submitit
        except ImportError:
            raise UserError("the launcher needs submitit; run: pip install 'deps-workbench[slurm]'") from None
        self.config, self.jobs = config, jobs or config.jobs or 64
        try:
            self.executor = submitit.SlurmExecutor(FOLDER, max_num_timeout=TIMEOUTS)
        except RuntimeError:
            raise UserError("there is no Slurm here: the command srun is not found") from None
        asked = {"partition": config.partition, "gpus_per_node": config.gpus or None}
        self.executor.update_parameters(
            time=config.minutes,
            cpus_per_task=config.cpus,
            mem=f"{round(config.memory_gb * 1024)}M",
            setup=config.setup,
            additional_parameters={"requeue": True, "open-mode": "append"},
            **{key: value for key, value in asked.items() if value is not None},
        )
        self.running: dict[str, submitit.Job[int]] = {}
        self.absent: dict[str, int] = {}
        self.asked = 0.0

    def start(self, name: str) -> None:
        log_path(name).unlink(missing_ok=True)
        self.executor.update_parameters(job_name=name)
        try:
            self.running[name] = self.executor.submit(SlurmItem(name))
        except Exception as error:  # submitit's own, with sbatch's words
            raise UserError(f"Slurm takes no job: {error}") from None
        self.absent[name] = 0

    def ended(self) -> dict[str, bool]:
        if self.running and time.monotonic() - self.asked > ASK_EVERY:
            self.asked = time.monotonic()
            queued = self._queued()
            for name, job in self.running.items():
                self.absent[name] = 0 if queued is None or job.job_id in queued else self.absent[name] + 1
        found: dict[str, bool] = {}
        for name, job in self.running.items():
            if job.paths.result_pickle.exists():
                with suppress(Exception):
                    found[name] = job.result() == 0
                found.setdefault(name, False)
            elif self.absent[name] >= ABSENT:
                found[name] = False
                with log_path(name).open("a") as log:
                    log.write(f"error: job {job.job_id} left the queue without a result; see {job.paths.stderr}\n")
        for name in found:
            del self.running[name]
        return found

    @staticmethod
    def _queued() -> set[str] | None:
        """Return ids of all jobs of this user that wait or run; None if Slurm does not answer."""
        asked = subprocess.run(
            ["squeue", "--noheader", "--format", "%A", "--user", str(os.getuid())], capture_output=True, text=True
        )
        return set(asked.stdout.split()) if asked.returncode == 0 else None

    def stop(self, kill: bool = False) -> bool:
        queued = self._queued() or set()
        ids = [job.job_id for job in self.running.values() if job.job_id in queued]
        if ids:
            subprocess.run(["scancel", *(["--signal=KILL"] if kill else []), *ids], check=False)
            time.sleep(1.0)
        return bool(ids) and not kill

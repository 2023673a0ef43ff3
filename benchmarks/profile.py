"""Where the time of a training step goes: `python -m benchmarks.profile SPACE BATCH`."""

from __future__ import annotations

import sys
from collections import defaultdict

from torch.profiler import ProfilerActivity, profile

from benchmarks.toys import sandwich_trainer
from dεps.device import set_up

STEPS, LINES = 3, 14


def table(space: str, batch: int) -> str:
    """Markdown: operators with their own CPU time, as shares of the steps."""
    trainer, images, labels = sandwich_trainer(space, batch)

    def steps() -> None:
        for step in range(STEPS):
            trainer.step = step
            trainer._step(images, labels, trainer.phases[-1])

    steps()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        steps()
    times: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in found.key_averages():
        times[event.key] += event.self_cpu_time_total
        calls[event.key] += event.count
    total = sum(times.values())
    lines = [
        f"{total / STEPS / 1e6:.3f} s a step (profiled)",
        "",
        "| operator | share | calls a step |",
        "|---|---|---|",
    ]
    for name in sorted(times, key=times.get, reverse=True)[:LINES]:
        lines.append(f"| `{name}` | {100 * times[name] / total:.1f} % | {calls[name] / STEPS:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    set_up()
    print(table(sys.argv[1], int(sys.argv[2])))

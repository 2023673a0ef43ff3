"""Where the time of a training step goes: `python -m benchmarks.profile SPACE BATCH [torch|native|public]`."""

from __future__ import annotations

import sys
from collections import defaultdict

from torch.profiler import ProfilerActivity, profile

from benchmarks.step import one_step

STEPS, LINES = 3, 14


def table(space: str, batch: int, side: str = "torch") -> str:
    """Markdown: operators with their own CPU time, as shares of some steps of the same archs."""
    step = one_step(side, space, batch)
    step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(STEPS):
            step()
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
    print(table(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))

"""What a server of several subnets costs against a network for each: `python -m benchmarks.serve [SPACE]`.

Times are a thread's own computing time, so that other work on the machine adds nothing to them; the least of several.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_model, save_model

from dεps.core.process import settle
from dεps.data.splits import PreparedData
from dεps.deploy.serve import Server, tensor_bytes
from dεps.evaluation.accuracy import Recalibration
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.workspace.presets import load_space

#: classes of the made-up data; a classifier's size
CLASSES = 100
IMAGES = 4


def least(run: Callable[[], object], times: int = 5) -> float:
    """Milliseconds of this thread in the fastest of several calls, after one that warms up."""
    run()
    found = []
    for _ in range(times):
        start = time.thread_time()
        run()
        found.append(time.thread_time() - start)
    return 1000 * min(found)


def main(name: str) -> None:
    """Print a Markdown table of memory, files and times for the Pareto points of a space, weights random."""
    settle(portable=False)
    torch.set_num_threads(1)
    space = load_space(name)
    side, rng = space.resolution[-1], np.random.default_rng(0)
    pixels = rng.integers(0, 256, (CLASSES, side, side, 3), np.uint8)
    some = pixels[:IMAGES], np.arange(IMAGES)
    data = PreparedData.from_arrays((pixels, np.arange(CLASSES)), validation=some, duplicates="allow")
    del pixels
    net = Supernet(space, CLASSES, 3)
    images = Recalibration(torch.arange(IMAGES))
    points = list(space.pareto_archs().values())
    server = Server.build(net, points, data, images, batches=())
    apart = {arch: extract(net, arch).eval() for arch in points}
    batch, x = some[0][:1], torch.randn(1, 3, side, side).to(memory_format=torch.channels_last)
    small, large = server.archs[0], server.archs[-1]
    rows = [("weights and statistics in memory (MB)", server.nbytes / 1e6, tensor_bytes(*apart.values()) / 1e6)]
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        server.save(Path(folder) / "server.safetensors")
        for number, plain in enumerate(apart.values()):
            save_model(plain, f"{folder}/{number}.safetensors")
        sizes = [path.stat().st_size / 1e6 for path in sorted(Path(folder).iterdir())]
        rows.append(("files (MB)", sizes[-1], sum(sizes[:-1])))
        other = f"{folder}/{len(apart) - 1}.safetensors"
        switch = least(lambda: [server.choose(max_macs=server.subnets[arch].macs) for arch in (small, large)]) / 2
        rows.append(
            ("switch: `choose`, or loading a file (ms)", switch, least(lambda: load_model(apart[points[-1]], other)))
        )
        for label, arch in (("smallest", small), ("largest", large)):
            views = least(lambda arch=arch: server._plain[arch](x))
            rows.append((f"call of the {label}, 1 image (ms)", views, least(lambda arch=arch: apart[arch](x))))
        turns = least(lambda: [server.predict(batch, arch=arch) for arch in (small, large)])
        same = sum(least(lambda arch=arch: server.predict(batch, arch=arch)) for arch in (small, large))
        rows.append(("smallest and largest in turn, or each alone (ms)", turns, same))
    print(f"{name}, {len(points)} subnets, {torch.__version__}, 1 thread")
    print("| | server | apart |\n| --- | ---: | ---: |")
    for label, ours, theirs in rows:
        print(f"| {label} | {ours:.3g} | {theirs:.3g} |")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["mbv3_32"])

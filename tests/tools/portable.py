"""Whether a CPU computes the bits of another: a small training under settings that hide what CPUs differ in.

`python -m tests.tools.portable` says whether this CPU gives the committed hash, and what the settings cost in speed.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import time

from dεps.core.process import PORTABLE

#: of the weights after STEPS steps, by version of torch; made on an AMD EPYC with AVX-512
HASHES = {"2.14.1": "5c33b705e00f"}
STEPS = 40


def trained() -> dict[str, object]:
    """Hash of the weights after sandwich steps on made-up images, seconds a step (median), and torch's version."""
    import torch

    from dεps.nets.supernet import Supernet
    from dεps.workspace.presets import load_space

    torch.set_num_threads(1)
    torch.manual_seed(0)
    space, archs, generator = load_space("resnet_28"), random.Random(0), torch.Generator().manual_seed(0)
    net = Supernet(space, 10, 1).train()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in net.parameters():
            weights.add_(0.01 * torch.randn(weights.shape, generator=noise))
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, nesterov=True)
    images = torch.randn(32, 1, 28, 28, generator=generator)
    labels = torch.randint(0, 10, (32,), generator=generator)
    seconds = []
    for _ in range(STEPS):
        begun = time.process_time()
        optimizer.zero_grad(set_to_none=False)
        for arch in (space.largest(), space.smallest(), space.sample(archs)):
            torch.nn.functional.cross_entropy(net(images, arch), labels).backward()
        optimizer.step()
        seconds.append(time.process_time() - begun)
    content = b"".join(tensor.detach().contiguous().numpy().tobytes() for tensor in net.state_dict().values())
    version = torch.__version__.partition("+")[0]
    return {"hash": hashlib.sha256(content).hexdigest()[:12], "step": sorted(seconds)[STEPS // 2], "torch": version}


def in_a_process(settings: dict[str, str]) -> dict:
    """`trained` under environment variables, which libraries read when they are loaded."""
    command = [sys.executable, "-m", "tests.tools.portable", "--train"]
    clean = {key: value for key, value in os.environ.items() if key not in PORTABLE}
    return json.loads(
        subprocess.run(command, env=clean | settings, check=True, stdout=subprocess.PIPE, text=True).stdout
    )


def main() -> None:
    """Print the outcome."""
    usual, portable = in_a_process({"OMP_NUM_THREADS": "1"}), in_a_process(PORTABLE)
    expected = HASHES.get(portable["torch"])
    if expected is None:
        print(f"no hash is committed for torch {portable['torch']}; this CPU gives {portable['hash']}")
    else:
        word = "holds" if portable["hash"] == expected else f"does NOT hold, {portable['hash']} here"
        print(f"committed hash {expected}: {word}")
    print(f"usual settings give {usual['hash']}; portable ones cost {portable['step'] / usual['step']:.2f} × the time")


if __name__ == "__main__":
    print(json.dumps(trained())) if "--train" in sys.argv else main()

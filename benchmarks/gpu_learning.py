"""Training and scoring of every network on a GPU, beside one core of the CPU.

    python benchmarks/gpu_learning.py [--rows N] [--json FILE]

Needs torch with CUDA and the package (`pip install -e .`); without a GPU it says so and ends with exit code 1.
Examples are random (`benchmarks.learning.draw_examples`). A step is one batch forwards and backwards with AdamW, in
bfloat16 where the survey trains so; copies to the device are not in it, as all rows of a training lie there.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.learning import FORMS, draw_examples
from survey.learning.models import KINDS

BATCH = 128
STEPS = 60
WARM_UP = 10


def measure_steps(kind: str, device: torch.device, rows: int, steps: int = STEPS) -> dict[str, float]:
    """Examples a second: `training` forwards and backwards, `scoring` forwards alone."""
    network = KINDS[kind].make(FORMS[kind].shape).to(device)
    examples = draw_examples(kind, rows).to(device)
    optimiser = torch.optim.AdamW(network.parameters())
    found = {}
    for name, learns in (("training", True), ("scoring", False)):
        network.train(learns)
        seconds = []
        for step in range(steps + WARM_UP):
            batch = examples.take(torch.arange(step * BATCH, (step + 1) * BATCH, device=device) % rows)
            begin = _now(device)
            with (
                torch.set_grad_enabled(learns),
                torch.autocast(device.type, torch.bfloat16, enabled=learns and device.type == "cuda"),
            ):
                outputs = network(*batch.inputs)
            if learns:
                optimiser.zero_grad()
                KINDS[kind].loss(outputs.float(), batch.targets).backward()
                optimiser.step()
            seconds.append(_now(device) - begin)
        found[name] = BATCH / statistics.median(seconds[WARM_UP:])
    return found


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no GPU that torch can use")
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "networks": {}}
    print(f"{figures['device']}, torch {torch.__version__}\n")
    print("| network | | GPU | one core | ratio |\n|---|---|---|---|---|")
    for kind in FORMS:
        on_gpu = measure_steps(kind, torch.device("cuda"), asked.rows)
        on_cpu = measure_steps(kind, torch.device("cpu"), asked.rows)
        figures["networks"][kind] = {"gpu": on_gpu, "cpu": on_cpu}
        for name, rate in on_gpu.items():
            print(f"| {kind} | {name} | {rate:,.0f} | {on_cpu[name]:,.0f} | {rate / on_cpu[name]:.1f} |")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

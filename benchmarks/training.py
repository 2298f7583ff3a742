"""Training speed of every network at its study's shape, beside nn.LSTM and nn.TransformerEncoder of equal
width.

    python -m benchmarks.training [--repeat 3] [--threads 2] [--batch 64]

One step is forward, loss, backward, clipping and AdamW. The networks take turns in every round, so that other
load on the machine hits all alike; the best round counts. Samples a second by wall clock, and by CPU time
of all threads, which suffers less from such load.
"""

import argparse
import time

import torch
from torch import nn

from trademl_pipeline.models.registry import build, count_parameters
from trademl_pipeline.models.ssm import use_backend

# network, size, features, length, settings: as the studies use them, and the small sizes of daily work
CASES = [
    ("mamba_forecast", "old", 21, 60, {}),
    ("mamba_forecast", "new", 21, 60, {}),
    ("mamba_attention", "small", 69, 50, {}),
    ("mamba_attention", "base", 69, 50, {}),
    ("mamba_attention", "base", 69, 50, {"body": "bilstm"}),
    ("lstm_backbone", "base", 17, 20, {}),
    ("lstm_attention", "base", 60, 60, {}),
    ("transformer", "base", 60, 60, {}),
    ("xlstm", "base", 60, 60, {}),
    ("hybrid", "single", 38, 60, {}),
    ("hybrid", "efficient", 38, 60, {}),
    ("hybrid", "ensemble", 38, 60, {}),
]


class Plain(nn.Module):
    """A stock body between two linear layers: the yardstick."""

    def __init__(self, kind: str, features: int, width: int, layers: int):
        super().__init__()
        self.kind, self.project, self.head = kind, nn.Linear(features, width), nn.Linear(width, 6)
        if kind == "nn.LSTM":
            self.body = nn.LSTM(width, width, layers, batch_first=True)
        else:
            layer = nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True, norm_first=True)
            self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, x, mask=None):
        h = self.body(self.project(x))
        return {"logits": self.head((h[0] if self.kind == "nn.LSTM" else h)[:, -1])}


class Step:
    def __init__(self, network: nn.Module, features: int, length: int, batch: int):
        self.network, self.batch = network.train(), batch
        self.x = torch.randn(batch, length, features)
        self.optimizer = torch.optim.AdamW(network.parameters())

    def __call__(self) -> None:
        value = sum(v.square().mean() for v in self.network(self.x).values())
        self.optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps: dict[str, tuple[Step, str]] = {}
    for name, size, features, length, changes in CASES:
        label = " ".join([name, size, *map(str, changes.values())])
        network = build(name, features, size, **changes)
        steps[label] = (Step(network, features, length, options.batch), "")
    base = build("mamba_attention", 69, "base")
    steps["mamba_attention base, torch scan"] = (Step(base, 69, 50, options.batch), "torch")
    for width, layers, features, length in ((128, 2, 69, 50), (128, 6, 21, 60), (256, 4, 60, 60)):
        for kind in ("nn.LSTM", "nn.TransformerEncoder"):
            label = f"{kind} width {width}, {layers} layers, {length} x {features}"
            steps[label] = (Step(Plain(kind, features, width, layers), features, length, options.batch), "")
    wall, cpu = (dict.fromkeys(steps, float("inf")) for _ in range(2))
    for round_ in range(options.repeat + 1):
        for label, (step, backend) in steps.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            if backend:
                with use_backend(backend):
                    step()
            else:
                step()
            if round_:  # the first warms up
                wall[label] = min(wall[label], time.perf_counter() - start)
                cpu[label] = min(cpu[label], time.process_time() - start_cpu)
    print(f"{options.threads} threads, batch {options.batch}, best of {options.repeat} steps")
    print(f"{'network':<52}{'parameters':>12}{'samples/s':>11}{'per CPU s':>11}")
    for label, (step, _) in steps.items():
        count = count_parameters(step.network)
        rate, rate_cpu = options.batch / wall[label], options.batch / cpu[label]
        print(f"{label:<52}{count:>12,}{rate:>11.0f}{rate_cpu:>11.0f}")


if __name__ == "__main__":
    main()

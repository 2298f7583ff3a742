"""Training speed of every network at its study's shape, beside nn.LSTM and nn.TransformerEncoder of equal
width.

    python -m benchmarks.training [--repeat 3] [--threads 2] [--batch 64]

One step is forward, loss, backward, clipping and AdamW. The networks take turns in every round, so that other
load on the machine hits all alike; the best round counts. Samples a second by wall clock, and by CPU time
of all threads, which suffers less from such load. ``of LSTM`` and ``of Transf.``: the speed as a share of that of
a stock body of equal width and depth over windows of the same shape.
"""

import argparse
import time

import torch
from torch import nn

from trademl_pipeline.models.registry import build, count_parameters
from trademl_pipeline.models.ssm import use_backend

# network, size, features, length, settings: as the studies use them, and the small sizes of daily work; then
# width and layers of the stock bodies to compare with
CASES = [
    ("mamba_forecast", "baseline_64", 21, 60, {}, 64, 4),
    ("mamba_forecast", "base_128", 21, 60, {}, 128, 6),
    ("mamba_attention", "small", 69, 50, {}, 64, 2),
    ("mamba_attention", "base", 69, 50, {}, 128, 2),
    ("mamba_attention", "base", 69, 50, {"body": "bilstm"}, 128, 2),
    ("lstm_backbone", "base", 17, 20, {}, 64, 2),
    ("lstm_attention", "base", 60, 60, {}, 128, 3),
    ("transformer", "base", 60, 60, {}, 256, 4),
    ("xlstm", "base", 60, 60, {}, 256, 2),
    ("hybrid", "single", 38, 60, {}, 256, 2),
    ("hybrid", "efficient", 38, 60, {}, 256, 2),
    ("hybrid", "ensemble", 38, 60, {}, 256, 2),
]
STOCK = ("nn.LSTM", "nn.TransformerEncoder")


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
    rivals: dict[str, list[str]] = {}
    for name, size, features, length, changes, width, layers in CASES:
        label = " ".join([name, size, *map(str, changes.values())])
        network = build(name, features, size, **changes)
        steps[label] = (Step(network, features, length, options.batch), "")
        rivals[label] = [f"{kind} {width} wide, {layers} layers, {length} x {features}" for kind in STOCK]
    base = build("mamba_attention", 69, "base")
    steps["mamba_attention base, torch scan"] = (Step(base, 69, 50, options.batch), "torch")
    rivals["mamba_attention base, torch scan"] = rivals["mamba_attention base"]
    for _, _, features, length, _, width, layers in CASES:
        for kind in STOCK:
            label = f"{kind} {width} wide, {layers} layers, {length} x {features}"
            if label not in steps:
                stock = Plain(kind, features, width, layers)
                steps[label] = (Step(stock, features, length, options.batch), "")
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
    print(
        f"{'network':<52}{'parameters':>12}{'samples/s':>11}{'per CPU s':>11}{'of LSTM':>9}{'of Transf.':>12}"
    )
    for label, (step, _) in steps.items():
        count = count_parameters(step.network)
        rate, rate_cpu = options.batch / wall[label], options.batch / cpu[label]
        shares = "".join(f"{wall[r] / wall[label]:>10.2f}" for r in rivals.get(label, []))
        print(f"{label:<52}{count:>12,}{rate:>11.0f}{rate_cpu:>11.0f}{shares}")


if __name__ == "__main__":
    main()

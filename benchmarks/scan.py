"""Selective scan, forward and backward: this project's backends against the plain loop and two public
approaches.

    python -m benchmarks.scan [--repeat 5] [--threads 2]

Times are the best of several rounds; in a round the approaches take turns, so that other load on the machine
hits all alike; CPU time (of all threads) is printed beside, since it suffers less from such load. Peak
memory is measured in a process of its own for each approach: the growth of its maximum resident set over
that after making the inputs. ``parallel scan`` is mambapy's (``pip install --no-deps mambapy``),
``associative_scan`` is PyTorch's own; both make decays and inputs of the full (b, L, D, N) size.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from trademl_pipeline.models.ssm import selective_scan
from trademl_pipeline_tests.models.reference.scan import sequential_scan

SHAPES = {"S1": (64, 50, 256, 16), "S2": (64, 60, 512, 32)}


def expanded(u, delta, A, B, delta_bias):
    """Decays and inputs of the recurrence, each (b, L, D, N)."""
    step = F.softplus(delta + delta_bias[:, None]).transpose(1, 2)
    return torch.exp(step[..., None] * A), (step * u.transpose(1, 2))[..., None] * B.transpose(1, 2)[
        :, :, None
    ]


def finish(x, u, C, D, z):
    y = (x @ C.transpose(1, 2)[..., None]).squeeze(-1).transpose(1, 2)
    return (y + u * D[:, None]) * F.silu(z)


def parallel_scan(u, delta, A, B, C, D, z, delta_bias, _):
    from mambapy.pscan import pscan

    return finish(pscan(*expanded(u, delta, A, B, delta_bias)), u, C, D, z)


def torch_associative(u, delta, A, B, C, D, z, delta_bias, _):
    from torch._higher_order_ops.associative_scan import associative_scan

    def combine(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    _, x = associative_scan(combine, expanded(u, delta, A, B, delta_bias), dim=1, combine_mode="generic")
    return finish(x, u, C, D, z)


def ours(backend):
    return lambda *args: selective_scan(*args, backend=backend)


APPROACHES = {
    "plain loop": sequential_scan,
    "associative_scan (torch)": torch_associative,
    "parallel scan (mambapy)": parallel_scan,
    "this project, torch": ours("torch"),
    "this project, numba": ours("numba"),
}


def inputs(batch, length, channels, states):
    g = torch.Generator().manual_seed(0)
    u, delta, z = (torch.randn(batch, length, channels, generator=g).transpose(1, 2) for _ in range(3))
    A = -torch.arange(1.0, states + 1).repeat(channels, 1)
    B, C = (torch.randn(batch, length, states, generator=g).transpose(1, 2) for _ in range(2))
    bias = torch.expm1(torch.exp(torch.rand(channels, generator=g) * 4.6 - 6.9)).log()
    return [t.requires_grad_() for t in (u, delta, A, B, C, torch.ones(channels), z, bias)]


def once(scan, args, weight):
    for t in args:
        t.grad = None
    y = scan(*args, True)
    y.backward(weight)
    return y


def peak_megabytes(name: str, shape: str) -> float:
    command = [sys.executable, "-m", "benchmarks.scan", "--memory-of", name, shape]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(name: str, shape: str) -> None:
    warm = inputs(1, 2, 64, 2)
    once(APPROACHES[name], warm, torch.ones_like(warm[0]))
    args = inputs(*SHAPES[shape])
    weight = torch.ones_like(args[0])
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
    before = high_water_mark()
    once(APPROACHES[name], args, weight)
    print(high_water_mark() - before)


def high_water_mark() -> float:
    """Largest resident set of this process in MB (Linux). Not getrusage: a child inherits its parent's."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", nargs=2, metavar=("APPROACH", "SHAPE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("mambapy") is None:
        print("mambapy is not installed (pip install --no-deps mambapy): its parallel scan is left out")
        del APPROACHES["parallel scan (mambapy)"]
    if options.memory_of:
        return measure_memory(*options.memory_of)
    torch.set_num_threads(options.threads)
    print(f"forward + backward, {options.threads} threads, best of {options.repeat}; error against float64")
    print(f"{'shape (b, L, D, N)':<24}{'approach':<28}", end="")
    print(f"{'ms':>9}{'CPU ms':>9}{'times loop':>12}{'peak MB':>9}{'error':>10}")
    for shape, size in SHAPES.items():
        args = inputs(*size)
        weight = torch.randn(size[:3], generator=torch.Generator().manual_seed(1)).transpose(1, 2)
        few = [t[:4] if t.dim() == 3 else t for t in args]
        exact = sequential_scan(*(t.double() for t in few), True).detach()
        best, cpu = (dict.fromkeys(APPROACHES, float("inf")) for _ in range(2))
        error = {}
        for scan in APPROACHES.values():
            once(scan, inputs(1, 2, 64, 2), torch.ones(1, 64, 2))
        for _ in range(options.repeat):
            for name, scan in APPROACHES.items():
                start, start_cpu = time.perf_counter(), time.process_time()
                y = once(scan, args, weight)
                best[name] = min(best[name], time.perf_counter() - start)
                cpu[name] = min(cpu[name], time.process_time() - start_cpu)
                error[name] = float((y.detach()[:4] - exact).abs().max() / exact.abs().max())
        loop = best["plain loop"]
        for name, seconds in best.items():
            label = f"{shape} {size}"
            print(
                f"{label:<24}{name:<28}{seconds * 1e3:>9.1f}{cpu[name] * 1e3:>9.1f}{loop / seconds:>11.1f}x"
                f"{peak_megabytes(name, shape):>9.0f}{error[name]:>10.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""On a machine with a CUDA GPU and mamba-ssm's kernels: parity and speed of this project's scan against them.

    pip install -e ".[gpu]"
    python -m benchmarks.mamba_cuda [--repeat 20]

Checks that the ``cuda`` backend calls the kernels rightly, that weights trained through it serve on the CPU
with equal outputs, and prints the times of all backends. Exits with 1 where parity fails, with 2 without
GPU or kernels.
"""

import argparse
import sys
import time

import torch

from benchmarks.scan import SHAPES, inputs
from trademl_pipeline.models.mamba import Mamba, MambaConfig
from trademl_pipeline.models.ssm import selective_scan, use_backend
from trademl_pipeline_tests.models.reference.scan import sequential_scan

FORWARD, GRADIENT = 1e-5, 1e-4  # the kernels sum in another order and use fast exponentials


def gradients(scan, leaves, weight):
    for t in leaves:
        t.grad = None
    y = scan(*leaves, True)
    y.backward(weight)
    return [y.detach(), *(t.grad for t in leaves)]


def relative(got, want):
    return float((got.double().cpu() - want.double().cpu()).abs().max() / want.double().abs().max().cpu())


def seconds(call, repeat, cuda):
    best = float("inf")
    for _ in range(repeat + 2):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA GPU here; nothing to compare with")
        return 2
    try:
        import selective_scan_cuda  # noqa: F401  # pyright: ignore
    except ImportError as error:
        print(f"mamba-ssm's kernels are not installed ({error}); pip install -e '.[gpu]'")
        return 2
    worst_forward, worst_gradient = 0.0, 0.0
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; forward + backward, ms")
    for shape, size in SHAPES.items():
        leaves = inputs(*size)
        few = [(t[:4] if t.dim() == 3 else t).detach().double().requires_grad_() for t in leaves]
        on_gpu = [t.detach()[:4] if t.dim() == 3 else t.detach() for t in leaves]
        on_gpu = [t.cuda().requires_grad_() for t in on_gpu]
        weight = torch.randn(few[0].shape)
        exact = gradients(sequential_scan, few, weight.double())
        got = gradients(lambda *a: selective_scan(*a, backend="cuda"), on_gpu, weight.cuda())
        errors = [relative(g, e) for g, e in zip(got, exact, strict=True)]
        worst_forward = max(worst_forward, errors[0])
        worst_gradient = max(worst_gradient, *errors[1:])
        told = ", ".join(f"{e:.1e}" for e in errors)
        print(f"{shape} {size}: error of y, u, delta, A, B, C, D, z, bias: {told}")
        everything = [t.detach().cuda().requires_grad_() for t in leaves]
        whole = torch.randn(everything[0].shape)
        for backend, args, w in (
            ("cuda", everything, whole.cuda()),
            ("torch", everything, whole.cuda()),
            ("numba", leaves, whole),
        ):
            repeat = options.repeat if backend != "numba" else 3
            took = seconds(
                lambda b=backend, a=args, w=w: gradients(lambda *x: selective_scan(*x, backend=b), a, w),
                repeat,
                backend != "numba",
            )
            print(f"  {backend:<6} {took * 1e3:8.2f}")
    torch.manual_seed(0)
    block = Mamba(MambaConfig(128, 32, 8, 4)).cuda()
    h = torch.randn(8, 60, 128, device="cuda")
    with torch.no_grad(), use_backend("cuda"):
        there = block(h)
    on_cpu = Mamba(MambaConfig(128, 32, 8, 4))
    on_cpu.load_state_dict({k: v.cpu() for k, v in block.state_dict().items()})
    with torch.no_grad():
        block_error = relative(on_cpu(h.cpu()), there)
    print(f"block, weights moved from GPU to CPU: error {block_error:.1e}")
    passed = worst_forward < FORWARD and worst_gradient < GRADIENT and block_error < FORWARD
    print("parity holds" if passed else "PARITY FAILS")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

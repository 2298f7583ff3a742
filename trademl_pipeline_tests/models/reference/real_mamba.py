"""The real ``mamba_ssm.Mamba`` on its slow reference path, without a GPU, triton or a CUDA build.

Importing the package runs an ``__init__`` that pulls in triton, tilelang and the compiled kernels. Of these
the reference path needs none, so the package is entered as a bare namespace and the two modules that
``selective_scan_interface`` insists on are stood in for by empty ones. Only ``mamba_ssm``'s files and
``einops`` must be importable: unpack the sdist and put it on PYTHONPATH. Run as a module this file rewrites
the stored values:

    PYTHONPATH=<unpacked sdist>:<einops> python -m trademl_pipeline_tests.models.reference.real_mamba
"""

import importlib.machinery
import importlib.util
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

STORED = Path(__file__).with_name("mamba_ssm_2_3_2_post1.npz")
SHAPE = {"d_model": 16, "d_state": 5, "d_conv": 8, "expand": 2}


def available() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("mamba_ssm", "einops"))


@contextmanager
def _bare_package():
    """sys.modules with mamba_ssm as a namespace and its compiled parts absent."""
    spec = importlib.util.find_spec("mamba_ssm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    before = dict(sys.modules)
    for name in [n for n in sys.modules if n.split(".")[0] in ("mamba_ssm", "selective_scan_cuda")]:
        del sys.modules[name]
    package = types.ModuleType("mamba_ssm")
    package.__path__ = list(spec.submodule_search_locations)
    layer_norm = types.ModuleType("mamba_ssm.ops.triton.layer_norm")
    for name in ("_layer_norm_fwd", "RMSNorm", "layer_norm_fn", "rms_norm_fn"):
        setattr(layer_norm, name, None)
    kernels = types.ModuleType("selective_scan_cuda")
    kernels.__spec__ = importlib.machinery.ModuleSpec("selective_scan_cuda", None)
    stand_ins = {"mamba_ssm": package, layer_norm.__name__: layer_norm, "selective_scan_cuda": kernels}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.split(".")[0] in ("mamba_ssm", "selective_scan_cuda")]:
            del sys.modules[name]
        sys.modules.update({n: m for n, m in before.items() if n.split(".")[0] == "mamba_ssm"})


def real_mamba(**shape) -> torch.nn.Module:
    """A ``mamba_ssm.modules.mamba_simple.Mamba`` whose scan is mamba-ssm's own ``selective_scan_ref``."""
    with _bare_package():
        simple = importlib.import_module("mamba_ssm.modules.mamba_simple")
        interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
        simple.selective_scan_fn = interface.selective_scan_ref
        simple.causal_conv1d_fn = None
        return simple.Mamba(use_fast_path=False, **shape)


def values_of(block: torch.nn.Module, h: torch.Tensor, g: torch.Tensor) -> dict[str, np.ndarray]:
    """Output and all gradients of a block for input h and output gradient g."""
    h = h.clone().requires_grad_()
    block.zero_grad()
    out = block(h)
    out.backward(g)
    grads = {f"grad.{n}": p.grad for n, p in block.named_parameters()}
    named = {"out": out.detach(), "grad.h": h.grad, **grads}
    return {name: value.numpy().copy() for name, value in named.items() if value is not None}


def main() -> None:
    torch.manual_seed(20)
    block = real_mamba(**SHAPE)
    h, g = torch.randn(2, 23, SHAPE["d_model"]), torch.randn(2, 23, SHAPE["d_model"])
    weights = {f"weight.{n}": p.detach().numpy() for n, p in block.state_dict().items()}
    np.savez_compressed(STORED, h=h.numpy(), g=g.numpy(), **weights, **values_of(block, h, g))
    print(f"{STORED}: {STORED.stat().st_size} bytes")


if __name__ == "__main__":
    main()

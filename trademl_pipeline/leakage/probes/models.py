"""Does a network look where it must not? (probe "model")

The properties, for a model of padded windows: **its output does not move when padding, other rows of the
batch, or, if it claims to be causal, later steps change.**

What it deliberately does not catch: windows that were put together wrongly before they reached the model; see
`audit_windows`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from trademl_pipeline.leakage.errors import AuditInputError, ExtractorError, NonDeterministicError
from trademl_pipeline.leakage.report import AuditReport, Violation

MODEL = "model"
ROWS_TRIED = 6
STEPS_TRIED = 12

Outputs = dict[str, np.ndarray]


def audit_model(
    model: Callable[..., Any],
    batch: Any,
    mask: Any = None,
    *,
    causal: bool,
    rtol: float = 1e-4,
    atol: float = 1e-6,
    seed: int = 0,
) -> AuditReport:
    """Audit a model of windows by changing what its output must not depend on.

    Args:
        model: called as it is, `model(batch, mask)`, or `model(batch)` where `mask` is None; put it in
            evaluation mode first. Returns an array, or a tuple, list or dict of arrays, with the batch as
            first axis. An output of shape (batch, time, …) is taken step by step, any other as one answer per
            row.
        batch: (batch, time, feature) floats, a NumPy array or a torch tensor; the model is given the same
            kind.
        mask: (batch, time) bool, true on steps that exist, or None where all do.
        causal: whether an output at a step may depend on that step and earlier ones only.
        rtol, atol: an output moved if |a - b| > rtol * max(|a|, |b|, std of that output) + atol.
        seed: of the synthetic values.

    Raises:
        AuditInputError: shapes do not fit, or outputs are not finite.
        NonDeterministicError: two calls differ (dropout left on).
        ExtractorError: the model raised.
    """
    probe = _Probe(model, batch, mask, rtol, atol, seed)
    violations = [*probe.padding(), *probe.other_rows()]
    if causal:
        violations += probe.later_steps()
    coverage = {
        "outputs": list(probe.base),
        "rows": len(probe.x),
        "steps": probe.x.shape[1],
        "padded_steps": int((~probe.mask).sum()),
        "causal": causal,
        "step_outputs": [n for n, v in probe.base.items() if probe.by_step(v)],
        "training_mode": bool(getattr(model, "training", False)),
        "calls": probe.calls,
    }
    return AuditReport(tuple(violations), {MODEL: coverage})


class _Probe:
    """One model on one batch."""

    def __init__(
        self, model: Callable[..., Any], batch: Any, mask: Any, rtol: float, atol: float, seed: int
    ) -> None:
        self.model = model
        self.like, self.mask_like = batch, mask
        self.x = _array(batch)
        if self.x.ndim != 3 or not np.issubdtype(self.x.dtype, np.floating):
            raise AuditInputError(
                f"the batch has shape {self.x.shape}; give floats of (batch, time, feature)"
            )
        if len(self.x) < 2 or self.x.shape[1] < 2:
            raise AuditInputError(f"the batch has shape {self.x.shape}; give at least two rows of two steps")
        self.mask = np.ones(self.x.shape[:2], dtype=bool) if mask is None else _array(mask).astype(bool)
        if self.mask.shape != self.x.shape[:2]:
            raise AuditInputError(f"the mask has shape {self.mask.shape}, the batch {self.x.shape}")
        if not self.mask.any(axis=1).all():
            raise AuditInputError(
                f"{int((~self.mask.any(axis=1)).sum())} rows of the batch are padding throughout"
            )
        self.rtol, self.atol = rtol, atol
        self.rng = np.random.default_rng(seed)
        self.calls = 0
        self.base = self.run(self.x, self.mask)
        for name, values in self.base.items():
            seen = values[self.mask] if self.by_step(values) else values
            if not np.isfinite(seen).all():
                raise AuditInputError(
                    f"{name} has {int((~np.isfinite(seen)).sum())} values that are not finite"
                )
        self.scale = {n: float(np.std(v)) for n, v in self.base.items()}
        again = self.run(self.x, self.mask)
        for name in self.base:
            if self.moved(name, self.base[name], again[name]).any():
                raise NonDeterministicError(
                    f"two calls of the model on the same batch gave different {name}; switch dropout off "
                    "(model.eval())"
                )

    def run(self, x: np.ndarray, mask: np.ndarray) -> Outputs:
        """The model's outputs as float64 arrays by name."""
        self.calls += 1
        inputs = [_like(x.astype(self.x.dtype), self.like)]
        if self.mask_like is not None:
            inputs.append(_like(mask.astype(_array(self.mask_like).dtype), self.mask_like))
        try:
            if _is_torch(self.like):
                import torch

                with torch.no_grad():
                    output = self.model(*inputs)
            else:
                output = self.model(*inputs)
        except Exception as error:
            raise ExtractorError(
                f"the model raised {type(error).__name__} on a batch of {x.shape}: {error}"
            ) from error
        outputs = dict(_named("output", output))
        for name, values in outputs.items():
            if values.ndim == 0 or len(values) != len(x):
                raise AuditInputError(
                    f"{name} has shape {values.shape}; its first axis must be the batch of {len(x)}"
                )
        return outputs

    def by_step(self, values: np.ndarray) -> bool:
        """True if an output has a step axis."""
        return values.ndim >= 2 and values.shape[1] == self.x.shape[1]

    def moved(self, name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Positions at which an output moved."""
        size = np.maximum(np.maximum(np.abs(a), np.abs(b)), self.scale.get(name, 0.0))
        with np.errstate(invalid="ignore"):
            return ~(np.abs(a - b) <= self.rtol * size + self.atol)

    def padding(self) -> list[Violation]:
        """Change what stands in padded steps."""
        if self.mask.all():
            return []
        violations: list[Violation] = []
        for noise in (self.noise(3.0), np.full_like(self.x, 10.0), np.zeros_like(self.x)):
            other = self.run(np.where(self.mask[..., None], self.x, noise), self.mask)
            violations += self.compare(
                other, self.mask, "padding", "when padded steps changed; mask them before every mix"
            )
        return _first_of_each(violations)

    def other_rows(self) -> list[Violation]:
        """Change all rows of the batch but one, or leave them out."""
        violations: list[Violation] = []
        what = "when other rows of the batch changed; look for batch statistics or a mixed axis"
        for row in self.rng.permutation(len(self.x))[:ROWS_TRIED]:
            alone = np.zeros_like(self.mask)
            alone[row] = self.mask[row]
            x = self.noise(3.0)
            x[row] = self.x[row]
            violations += self.compare(self.run(x, self.mask), alone, "other rows", what)
        if not violations:
            half = max(len(self.x) // 2, 1)
            part = self.run(self.x[:half], self.mask[:half])
            full = {n: np.concatenate([part[n], self.base[n][half:]]) for n in self.base}
            violations += self.compare(full, self.mask, "other rows", what)
        return _first_of_each(violations)

    def later_steps(self) -> list[Violation]:
        """Change, and then mask, every step after a step."""
        violations: list[Violation] = []
        if not any(self.by_step(v) for v in self.base.values()):
            return violations
        length = int(self.x.shape[1])
        tried = np.linspace(0, length - 2, STEPS_TRIED)
        for step in sorted({int(t) for t in tried}):
            later = np.arange(length) > step
            up_to_step = self.mask & ~later
            noise = np.where(later[None, :, None], self.noise(3.0), self.x)
            violations += self.compare(
                self.run(noise, self.mask),
                up_to_step,
                "later steps",
                f"when steps after step {step} changed",
                steps_only=True,
            )
            # Rows whose steps all lie later keep their mask: a row of nothing but padding has no output.
            some = np.asarray(up_to_step.any(axis=1))
            if self.mask_like is not None and some.any():
                cut = np.where(some[:, None], up_to_step, self.mask)
                what = f"when steps after step {step} were masked"
                violations += self.compare(
                    self.run(self.x, cut), up_to_step, "later steps", what, steps_only=True
                )
        return _first_of_each(violations)

    def noise(self, size: float) -> np.ndarray:
        """(batch, time, feature) synthetic values."""
        return (size * self.rng.standard_normal(self.x.shape)).astype(self.x.dtype)

    def compare(
        self, other: Outputs, steps: np.ndarray, kind: str, what: str, *, steps_only: bool = False
    ) -> list[Violation]:
        """Violations for outputs that moved at some steps (bool mask), or in the rows of those steps."""
        violations: list[Violation] = []
        for name, before in self.base.items():
            if self.by_step(before):
                where = steps
            elif steps_only:
                continue
            else:
                where = steps.any(axis=1)
            a, b = before[where], other[name][where]
            moved = self.moved(name, a, b)
            if moved.any():
                with np.errstate(invalid="ignore"):
                    delta = np.nan_to_num(np.abs(a - b), nan=np.inf)
                at = np.unravel_index(int(np.argmax(np.where(moved, delta, -1.0))), delta.shape)
                rows = moved.reshape(len(moved), -1).any(axis=1)
                unit = "steps" if self.by_step(before) else "rows"
                detail = (
                    f"{kind}: {name} went from {a[at]:.6g} to {b[at]:.6g} {what}; {int(rows.sum())} {unit}"
                )
                violations.append(
                    Violation(MODEL, name, None, None, None, float(delta[at]), detail, int(rows.sum()))
                )
        return violations


def _first_of_each(violations: list[Violation]) -> list[Violation]:
    worst: dict[str | None, Violation] = {}
    for v in violations:
        if v.column not in worst or (v.max_delta or 0.0) > (worst[v.column].max_delta or 0.0):
            worst[v.column] = v
    return list(worst.values())


def _named(name: str, output: Any) -> list[tuple[str, np.ndarray]]:
    if isinstance(output, dict):
        items = cast(dict[Any, Any], output)
        return [pair for key, value in items.items() for pair in _named(f"{name}[{key}]", value)]
    if isinstance(output, tuple | list):
        values = cast(Sequence[Any], output)
        return [pair for i, value in enumerate(values) for pair in _named(f"{name}[{i}]", value)]
    if dataclasses.is_dataclass(output):
        fields = {f.name: getattr(output, f.name) for f in dataclasses.fields(output)}
        return _named(name, fields)
    if output is None:
        return []
    return [(name, _array(output).astype(np.float64))]


def _is_torch(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "torch"


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if _is_torch(value) else np.asarray(value)


def _like(values: np.ndarray, like: Any) -> Any:
    """An array as the kind of thing that `like` is, on its device."""
    if not _is_torch(like):
        return values
    import torch

    return torch.as_tensor(values, device=like.device)

"""Losses of the five studies: each takes the network's outputs and the targets by name, and gives a scalar.

A target that is NaN has no label: its term is left out, and a batch without any label gives 0 for the term.
Formulas and weights: Asymmetric Loss for Multi-Label Classification (arXiv 2009.14119); Multi-Task Learning
Using Uncertainty to Weigh Losses (arXiv 1705.07115); the rest: docs/models.md.
"""

from collections.abc import Mapping

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import nn  # noqa: TID253

Tensors = Mapping[str, torch.Tensor]
BREAKOUT_WEIGHTS = (1.0, 1.0, 2.0, 10.0, 500.0, 5.0)
MULTI_TASK_WEIGHTS = {
    "price": 0.30,
    "direction": 0.20,
    "position": 0.20,
    "volatility": 0.15,
    "risk": 0.10,
    "confidence": 0.05,
}


class CrossEntropyLoss(nn.Module):
    """Cross-entropy of ``logits`` (batch, classes) against ``target`` (batch,), optionally weighted by class.

    Args:
        class_weights: one a class; None: all 1. The mean is over the weights, as in PyTorch.
        output, target: keys.
    """

    def __init__(
        self, class_weights: tuple[float, ...] | None = None, output: str = "logits", target: str = "target"
    ):
        super().__init__()
        self.output, self.target = output, target
        self.register_buffer("weights", None if class_weights is None else torch.tensor(class_weights))

    def forward(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        """Scalar."""
        return _cross_entropy(outputs[self.output], targets[self.target], self.weights)


class AsymmetricLoss(nn.Module):
    """Asymmetric focusing, one against the rest, on the sigmoid of each class's logit.

    With p the sigmoid and p_m = max(p - clip, 0):
    for the class that came  -w_class (1 - p)^gamma_pos log p, for each other  -p_m^gamma_neg log(1 - p_m).
    On a softmax gamma_pos = 0 would be plain cross-entropy: there the other classes have no term of their
    own.
    """

    def __init__(
        self,
        class_weights: tuple[float, ...] = BREAKOUT_WEIGHTS,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        output: str = "logits",
        target: str = "target",
    ):
        super().__init__()
        self.gamma_pos, self.gamma_neg, self.clip = gamma_pos, gamma_neg, clip
        self.output, self.target = output, target
        self.register_buffer("weights", torch.tensor(class_weights))

    def forward(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        """Mean over the labelled rows of the sum over classes."""
        logits, target, n = _labelled(outputs[self.output], targets[self.target])
        outcome = F.one_hot(target.long(), logits.shape[-1]).to(logits.dtype)
        missed = torch.sigmoid(-logits)  # 1 - p, without cancellation
        shifted = (torch.sigmoid(logits) - self.clip).clamp(min=0)
        weights: torch.Tensor = self.weights.to(logits.dtype)  # pyright: ignore
        positive = weights * missed**self.gamma_pos * F.logsigmoid(logits)
        negative = shifted**self.gamma_neg * torch.log1p(-shifted)
        total = -(outcome * positive + (1 - outcome) * negative).sum()
        return total / n if n else total * 0.0


class FinancialLoss(nn.Module):
    """Multi-objective loss of the forecaster, over all horizons.

    0.4 squared error + 0.3 squared error doubled where the sign is wrong + 0.2 |log volatility error|
    + 0.1 (- Sharpe), the Sharpe being mean over standard deviation in the batch of tanh(mean / volatility)
    times the return. Returns and predictions are divided by ``scale`` (a typical absolute return per
    horizon) so that the four terms are of one size.

    Args:
        scale: one a horizon, above 0.
        weights: of the four terms.
    """

    def __init__(
        self, scale: tuple[float, ...], weights: tuple[float, float, float, float] = (0.4, 0.3, 0.2, 0.1)
    ):
        super().__init__()
        if min(scale) <= 0:
            raise ValueError(f"the scale of a return must be above 0, got {scale}")
        self.weights = weights
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        """Compute the loss of outputs mean and log_volatility against targets forward_return and volatility.

        All of them (batch, horizons).
        """
        terms = self.terms(outputs, targets)
        return sum(w * t for w, t in zip(self.weights, terms, strict=True))  # pyright: ignore

    def terms(self, outputs: Tensors, targets: Tensors) -> tuple[torch.Tensor, ...]:
        """The four terms before weighting: squared error, directional, volatility, negative Sharpe."""
        mean, log_volatility = outputs["mean"], outputs["log_volatility"]
        actual, known = _known(targets["forward_return"], mean.dtype)
        realised, has_volatility = _known(targets["volatility"], mean.dtype)
        scale: torch.Tensor = self.scale.to(mean.dtype)  # pyright: ignore
        error = ((mean - actual) / scale).square()
        wrong = (mean * actual < 0).to(mean.dtype)
        has_volatility = has_volatility & (realised > 0)
        log_realised = realised.where(has_volatility, torch.ones_like(realised)).log()
        stake = torch.tanh(mean / log_volatility.exp())
        gain = stake * actual / scale
        return (
            _mean(error, known),
            _mean(error * (1 + wrong), known),
            _mean((log_volatility - log_realised).abs(), has_volatility),
            -_sharpe(gain, known),
        )


def _sharpe(gain: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean over standard deviation down the batch, averaged over horizons; 0 with fewer than two rows."""
    n = known.sum(0).clamp(min=1)
    centre = (gain * known).sum(0) / n
    variance = ((gain - centre).square() * known).sum(0) / n
    ratios = centre / (variance + 1e-6).sqrt()
    return (ratios * (known.sum(0) > 1)).mean()


class MultiTaskLoss(nn.Module):
    """Weighted sum of task losses of the hybrid network.

    price: squared error in units of ``scale``; direction, position: cross-entropy; volatility: absolute log
    error; risk: squared error in units of ``risk_scale``; confidence: binary cross-entropy.
    With ``uncertainty`` each task's loss L becomes weight (exp(-s) L + s / 2 or s), s learnt per task: s /
    2 for regressions with exp(-s) / 2 in front, s for classifications.

    Args:
        scale: typical absolute return per price horizon.
        weights: by task; tasks that are not named are left out.
        uncertainty: learn one log variance a task.
        risk_scale: typical size of the risk target.
    """

    CLASSIFICATION = frozenset({"direction", "position", "confidence"})

    def __init__(
        self,
        scale: tuple[float, ...],
        weights: Mapping[str, float] = MULTI_TASK_WEIGHTS,
        uncertainty: bool = False,
        risk_scale: float = 1.0,
    ):
        super().__init__()
        if unknown := set(weights) - set(MULTI_TASK_WEIGHTS):
            raise ValueError(f"unknown tasks {sorted(unknown)}; there are {', '.join(MULTI_TASK_WEIGHTS)}")
        self.weights, self.risk_scale = dict(weights), risk_scale
        self.register_buffer("scale", torch.tensor(scale))
        self.log_variance = (
            nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in weights})
            if uncertainty
            else None
        )

    def with_weights(self, weights: Mapping[str, float]) -> None:
        """Change the weights, as a curriculum does; tasks that are not named weigh 0."""
        if unknown := set(weights) - set(self.weights):
            raise ValueError(f"unknown tasks {sorted(unknown)}; this loss has {', '.join(self.weights)}")
        self.weights = {task: float(weights.get(task, 0.0)) for task in self.weights}

    def terms(self, outputs: Tensors, targets: Tensors) -> dict[str, torch.Tensor]:
        """Each task's own loss."""
        tasks = {task: getattr(self, f"_{task}") for task in self.weights}
        return {task: loss(outputs[task], targets[task]) for task, loss in tasks.items()}

    def forward(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        """Scalar."""
        total = next(iter(outputs.values())).new_zeros(())
        for task, loss in self.terms(outputs, targets).items():
            if self.log_variance is not None:
                s = self.log_variance[task]
                share = 1.0 if task in self.CLASSIFICATION else 0.5
                loss = share * (torch.exp(-s) * loss + s)
            total = total + self.weights[task] * loss
        return total

    def _price(self, output, target):
        target, known = _known(target, output.dtype)
        return _mean(((output - target) / self.scale.to(output.dtype)).square(), known)

    def _direction(self, output, target):
        return _cross_entropy(output, target, None)

    _position = _direction

    def _volatility(self, output, target):
        target, known = _known(target, output.dtype)
        known = known & (target > 0)
        return _mean((output - target.where(known, torch.ones_like(target)).log()).abs(), known)

    def _risk(self, output, target):
        target, known = _known(target, output.dtype)
        return _mean(((output - target) / self.risk_scale).square(), known)

    def _confidence(self, output, target):
        target, known = _known(target, output.dtype)
        return _mean(F.binary_cross_entropy_with_logits(output, target, reduction="none"), known)


class CorrelationLoss(nn.Module):
    """1 - correlation between sigmoid(output) and target in the batch, plus ``anchor`` times cross-entropy.

    The correlation alone fixes neither level nor spread of the confidences; the anchor does. Patterns, the
    columns of (batch, patterns), count alike; one whose targets are all equal or absent in the batch has no
    correlation and only its anchor.
    """

    def __init__(self, anchor: float = 0.5, output: str = "confidence", target: str = "confidence"):
        super().__init__()
        self.anchor, self.output, self.target = anchor, output, target

    def forward(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        """outputs (batch,) or (batch, patterns) logits; targets the same shape, in [0, 1]."""
        logits = outputs[self.output]
        target, known = _known(targets[self.target], logits.dtype)
        if logits.dim() == 1:
            logits, target, known = logits[:, None], target[:, None], known[:, None]
        n = known.sum(0).clamp(min=1)

        def centred(values):
            return (values - (values * known).sum(0) / n) * known

        p, y = centred(torch.sigmoid(logits)), centred(target)
        spread = y.square().sum(0)
        correlation = (p * y).sum(0) / (p.square().sum(0) * spread + 1e-12).sqrt()
        varies = spread > 1e-9
        uncorrelated = ((1 - correlation) * varies).sum() / varies.sum().clamp(min=1)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return uncorrelated + self.anchor * _mean(cross_entropy, known)


class PatternLoss(nn.Module):
    """Correlation-optimised confidence of each pattern, and three side tasks at a small weight.

    This is the loss of the pattern confidence design.

    signal_quality: binary cross-entropy; regime: cross-entropy; log_volatility: absolute error. A side task without
    a target in the batch, or not among the targets at all, adds nothing.

    Args:
        side: weight of each side task.
        anchor: see `CorrelationLoss`.
    """

    def __init__(self, side: float = 0.1, anchor: float = 0.5):
        super().__init__()
        self.side, self.confidence = side, CorrelationLoss(anchor)

    def forward(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        """Scalar."""
        total = self.confidence(outputs, targets)
        if "signal_quality" in targets:
            quality, known = _known(targets["signal_quality"], outputs["signal_quality"].dtype)
            entropy = F.binary_cross_entropy_with_logits(outputs["signal_quality"], quality, reduction="none")
            total = total + self.side * _mean(entropy, known)
        if "regime" in targets:
            total = total + self.side * _cross_entropy(outputs["regime"], targets["regime"], None)
        if "log_volatility" in targets:
            size, known = _known(targets["log_volatility"], outputs["log_volatility"].dtype)
            total = total + self.side * _mean((outputs["log_volatility"] - size).abs(), known)
        return total


def _known(target: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The target with NaN as 0, and where it was not NaN."""
    known = ~target.isnan()
    return target.to(dtype).where(known, torch.zeros((), dtype=dtype, device=target.device)), known


def _mean(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    return (values * known).sum() / known.sum().clamp(min=1)


def _labelled(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Rows with a class, as class indices. Without any, one row that weighs nothing keeps the graph alive."""
    known = ~target.isnan() if target.is_floating_point() else target >= 0
    n = int(known.sum())
    if n == 0:
        return output[:1] * 0.0, torch.zeros(1, dtype=torch.long, device=output.device), 0
    return output[known], target[known], n


def _cross_entropy(output, target, weights):
    output, target, n = _labelled(output, target)
    if n == 0:
        return output.sum()
    return F.cross_entropy(output, target.long(), None if weights is None else weights.to(output.dtype))

import math

import pytest
import torch
import torch.nn.functional as F

from trademl_pipeline.models.losses import (
    AsymmetricLoss,
    CorrelationLoss,
    CrossEntropyLoss,
    FinancialLoss,
    MultiTaskLoss,
)

D = torch.float64


def gradients_are_right(loss, outputs, targets):
    names = list(outputs)
    leaves = [outputs[n].detach().to(D).requires_grad_() for n in names]
    return torch.autograd.gradcheck(
        lambda *values: loss(dict(zip(names, values, strict=True)), targets), leaves, eps=1e-6, atol=1e-7
    )


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_asymmetric_by_hand():
    loss = AsymmetricLoss(class_weights=(1.0, 500.0), gamma_pos=0, gamma_neg=4, clip=0.05)
    p = [sigmoid(0.5), sigmoid(-1.0)]
    want = -500 * math.log(p[1]) - (p[0] - 0.05) ** 4 * math.log(1 - (p[0] - 0.05))
    got = loss({"logits": torch.tensor([[0.5, -1.0]], dtype=D)}, {"target": torch.tensor([1])})
    assert float(got) == pytest.approx(want, rel=1e-6)


def test_asymmetric_clip_silences_easy_negatives():
    logits = torch.tensor([[4.0, -4.0]], dtype=D, requires_grad=True)  # the negative's p = 0.018 < 0.05
    AsymmetricLoss(class_weights=(1.0, 1.0))({"logits": logits}, {"target": torch.tensor([0])}).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0
    assert logits.grad[0, 0] < 0


def test_asymmetric_is_not_cross_entropy_in_disguise():
    logits = normal(6, 3).requires_grad_()
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    (ours,) = torch.autograd.grad(
        AsymmetricLoss((1.0, 1.0, 1.0))({"logits": logits}, {"target": target}), logits
    )
    (plain,) = torch.autograd.grad(F.cross_entropy(logits, target), logits)
    assert (ours - plain).abs().max() > 0.05


def test_asymmetric_gradient():
    targets = {"target": torch.tensor([0, 4, 5, 3, 1])}
    assert gradients_are_right(AsymmetricLoss(gamma_pos=1.0), {"logits": normal(5, 6)}, targets)


def test_asymmetric_is_finite_for_extreme_logits():
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = AsymmetricLoss(class_weights=(1.0, 1.0))({"logits": logits}, {"target": torch.tensor([1, 1])})
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_financial_by_hand():
    outputs = {
        "mean": torch.tensor([[0.01], [-0.02]], dtype=D),
        "log_volatility": torch.tensor([[0.02], [0.04]], dtype=D).log(),
    }
    targets = {
        "forward_return": torch.tensor([[0.03], [0.01]], dtype=D),
        "volatility": torch.tensor([[0.01], [0.04]]),
    }
    mse, directional, volatility, sharpe = FinancialLoss(scale=(0.01,)).terms(outputs, targets)
    assert float(mse) == pytest.approx((4 + 9) / 2)
    assert float(directional) == pytest.approx((4 + 2 * 9) / 2)
    assert float(volatility) == pytest.approx((math.log(2) + 0) / 2, rel=1e-5)
    gains = [math.tanh(0.5) * 3, math.tanh(-0.5) * 1]
    centre = sum(gains) / 2
    spread = math.sqrt(sum((g - centre) ** 2 for g in gains) / 2)
    assert float(sharpe) == pytest.approx(-centre / spread, rel=1e-4)
    total = FinancialLoss(scale=(0.01,))(outputs, targets)
    want = 0.4 * mse + 0.3 * directional + 0.2 * volatility + 0.1 * sharpe
    torch.testing.assert_close(total, want)


def test_financial_gradient_and_missing_labels():
    targets = {"forward_return": normal(6, 2, seed=1), "volatility": normal(6, 2, seed=2).abs()}
    targets["forward_return"][4:, 1] = float("nan")
    targets["volatility"][0] = float("nan")
    outputs = {"mean": normal(6, 2), "log_volatility": normal(6, 2, seed=3)}
    loss = FinancialLoss(scale=(1.0, 2.0))
    assert gradients_are_right(loss, outputs, targets)
    changed = {k: v.clone() for k, v in outputs.items()}
    changed["mean"][4:, 1] += 3
    for before, after in zip(loss.terms(outputs, targets)[:2], loss.terms(changed, targets)[:2], strict=True):
        torch.testing.assert_close(before, after)


def test_financial_with_one_row_has_no_sharpe_and_no_nan():
    one = {"mean": torch.tensor([[0.1]]), "log_volatility": torch.tensor([[0.0]])}
    loss = FinancialLoss(scale=(1.0,)).terms(
        one, {"forward_return": torch.ones(1, 1), "volatility": torch.ones(1, 1)}
    )
    assert float(loss[3]) == 0


TASKS = {
    "price": normal(4, 3),
    "direction": normal(4, 3, seed=1),
    "position": normal(4, 3, seed=2),
    "volatility": normal(4, seed=3),
    "risk": normal(4, seed=4),
    "confidence": normal(4, seed=5),
}
TASK_TARGETS = {
    "price": normal(4, 3, seed=6),
    "direction": torch.tensor([0.0, 1.0, 2.0, float("nan")]),
    "position": torch.tensor([2, 2, 0, 1]),
    "volatility": normal(4, seed=7).abs(),
    "risk": normal(4, seed=8),
    "confidence": torch.tensor([0.0, 1.0, 1.0, float("nan")]),
}


def test_multi_task_is_the_weighted_sum_of_its_terms_by_hand():
    loss = MultiTaskLoss(scale=(1.0, 2.0, 4.0), risk_scale=2.0)
    price = ((TASKS["price"] - TASK_TARGETS["price"]) / torch.tensor([1.0, 2.0, 4.0])).square().mean()
    direction = F.cross_entropy(TASKS["direction"][:3], torch.tensor([0, 1, 2]))
    position = F.cross_entropy(TASKS["position"], TASK_TARGETS["position"])
    volatility = (TASKS["volatility"] - TASK_TARGETS["volatility"].log()).abs().mean()
    risk = ((TASKS["risk"] - TASK_TARGETS["risk"]) / 2).square().mean()
    confidence = F.binary_cross_entropy_with_logits(
        TASKS["confidence"][:3], torch.tensor([0.0, 1, 1], dtype=D)
    )
    want = 0.3 * price + 0.2 * direction + 0.2 * position + 0.15 * volatility + 0.1 * risk + 0.05 * confidence
    torch.testing.assert_close(loss(TASKS, TASK_TARGETS), want)


def test_multi_task_gradient_plain_and_with_uncertainty():
    assert gradients_are_right(MultiTaskLoss(scale=(1.0, 1.0, 1.0)), TASKS, TASK_TARGETS)
    assert gradients_are_right(MultiTaskLoss((1.0, 1.0, 1.0), uncertainty=True).double(), TASKS, TASK_TARGETS)


def test_uncertainty_weighting_by_hand_and_its_optimum():
    loss = MultiTaskLoss(scale=(1.0,), weights={"risk": 1.0}, uncertainty=True).double()
    outputs, targets = {"risk": torch.tensor([3.0], dtype=D)}, {"risk": torch.tensor([0.0])}
    s = loss.log_variance["risk"]
    with torch.no_grad():
        s.fill_(0.7)
    assert loss(outputs, targets).item() == pytest.approx(0.5 * (math.exp(-0.7) * 9 + 0.7))
    with torch.no_grad():
        s.fill_(math.log(9))  # the log of the squared error minimises it
    loss(outputs, targets).backward()
    assert abs(float(s.grad)) < 1e-9


def test_curriculum_weights_replace_the_weights():
    loss = MultiTaskLoss(scale=(1.0, 1.0, 1.0))
    loss.with_weights({"direction": 1.0})
    torch.testing.assert_close(loss(TASKS, TASK_TARGETS), loss.terms(TASKS, TASK_TARGETS)["direction"])
    with pytest.raises(ValueError, match=r"unknown tasks \['mood'\]"):
        loss.with_weights({"mood": 1.0})


def test_correlation_by_hand():
    logits = torch.tensor([0.2, 1.5, -0.3, 0.7], dtype=D)
    target = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=D)
    r = torch.corrcoef(torch.stack([torch.sigmoid(logits), target]))[0, 1]
    want = 1 - r + 0.5 * F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(CorrelationLoss()({"confidence": logits}, {"confidence": target}), want)


def test_correlation_gradient_with_gaps_and_a_constant_pattern():
    target = (normal(8, 3, seed=9) > 0).to(D)
    target[:, 2] = 1
    target[:3, 0] = float("nan")
    assert gradients_are_right(CorrelationLoss(), {"confidence": normal(8, 3)}, {"confidence": target})


def test_cross_entropy_weighted_and_gradient():
    loss = CrossEntropyLoss(class_weights=(1.0, 3.0))
    outputs, targets = {"logits": normal(5, 2)}, {"target": torch.tensor([0, 1, 1, 0, -1])}
    want = F.cross_entropy(outputs["logits"][:4], targets["target"][:4], torch.tensor([1.0, 3.0], dtype=D))
    torch.testing.assert_close(loss(outputs, targets), want)
    assert gradients_are_right(loss, outputs, targets)


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), AsymmetricLoss((1.0, 1.0))])
def test_a_batch_without_labels_gives_zero_and_zero_gradients(loss):
    logits = torch.randn(3, 2, requires_grad=True)
    value = loss({"logits": logits}, {"target": torch.full((3,), float("nan"))})
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()

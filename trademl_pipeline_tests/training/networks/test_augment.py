import numpy as np
import pytest
import torch

from trademl_pipeline.training.networks.augment import _warp, augment
from trademl_pipeline.training.networks.schedule import Augmentation


def ramp(batch=64, length=20, real=20):
    mask = torch.arange(length).expand(batch, -1) >= length - real
    x = torch.arange(length, dtype=torch.float32).expand(batch, -1).unsqueeze(-1) * mask.unsqueeze(-1)
    return x, mask


def test_the_decision_stays_where_it_is():
    x, mask = ramp(real=15)
    out, kept = augment(x, mask, Augmentation(noise=0.0), np.random.default_rng(0))
    assert (out[:, -1, 0] == 19).all()
    assert kept[:, -1].all()


def test_warp_reads_the_past_faster_or_slower_by_hand():
    x, mask = ramp(batch=2, length=6, real=6)
    out, real = _warp(x, mask, torch.tensor([[2.0], [0.5]]))
    torch.testing.assert_close(out[0, 3:, 0], torch.tensor([1.0, 3.0, 5.0]))
    assert real[0].tolist() == [False, False, False, True, True, True]
    torch.testing.assert_close(out[1, :, 0], torch.tensor([2.5, 3.0, 3.5, 4.0, 4.5, 5.0]))
    assert real[1].all()


def test_warp_stays_within_twenty_percent_and_never_reads_padding():
    x, mask = ramp(real=12)
    how = Augmentation(noise=0.0, shortest=1.0, share=1.0)
    out, kept = augment(x, mask, how, np.random.default_rng(1))
    speed = 19 - out[:, -2, 0]
    assert 0.8 <= float(speed.min()) < 0.9
    assert 1.1 < float(speed.max()) <= 1.2
    assert (out[kept][:, 0] >= 8).all()
    assert (out[~kept] == 0).all()


def test_slicing_keeps_the_last_steps_and_at_least_the_shortest_share():
    x, mask = ramp(real=20)
    out, kept = augment(
        x, mask, Augmentation(noise=0.0, warp=0.0, shortest=0.5, share=1.0), np.random.default_rng(2)
    )
    counts = kept.sum(1)
    assert 10 <= int(counts.min()) < 14
    assert int(counts.max()) > 16
    assert (kept.int().diff(dim=1) >= 0).all()  # only the oldest steps go
    assert (out[~kept] == 0).all()


def test_noise_has_the_declared_size_on_real_steps_only():
    x, mask = ramp(batch=500, real=10)
    out, _ = augment(x, mask, Augmentation(noise=0.01, warp=0.0, shortest=1.0), np.random.default_rng(3))
    assert float((out - x)[mask].std()) == pytest.approx(0.01, rel=0.05)
    assert (out[~mask] == 0).all()


@pytest.mark.parametrize("bad", [{"noise": -1}, {"warp": 1.0}, {"shortest": 0.0}, {"share": 2.0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="out of range"):
        Augmentation(**bad)

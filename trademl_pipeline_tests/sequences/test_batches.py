"""Batches for torch: every window once, in an order that the seed and epoch decide."""

import numpy as np
import pytest
import torch

from trademl_pipeline.sequences import (
    Batches,
    SequenceInputError,
    feature_matrix,
    gather,
    pattern_windows,
    window_index,
)
from trademl_pipeline_tests.features.panels import random_bars
from trademl_pipeline_tests.sequences.test_index import frame_of

FEATURES = frame_of([30, 12, 1])
INDEX = window_index(FEATURES, 8)
MATRIX, ROW, N_VALID = feature_matrix(FEATURES), INDEX["row"].to_numpy(), INDEX["n_valid"].to_numpy()


def arrays_of(which):
    return gather(MATRIX, ROW[which], N_VALID[which], 8)


N = INDEX.height
TARGET = np.arange(N)


def test_every_window_comes_once_with_its_own_target() -> None:
    batches = Batches(arrays_of, N, TARGET, batch_size=10, shuffle=True)
    assert len(batches) == 5
    seen = []
    for x, mask, y in batches:
        assert x.dtype == torch.float32
        assert mask.dtype == torch.bool
        assert x.shape[1:] == (8, 2)
        # Feature a is the row's number, and so is the target.
        assert x[:, -1, 0].long().tolist() == y.tolist()
        seen += y.tolist()
    assert sorted(seen) == list(range(N))
    assert seen != list(range(N))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat([b[-1] for b in Batches(arrays_of, N, TARGET, 10, True, seed, epoch)]).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_without_shuffling_windows_come_in_their_own_order() -> None:
    got = torch.cat([x[:, -1, 0] for x, _ in Batches(arrays_of, N, batch_size=7)])
    assert got.long().tolist() == list(range(N))


def test_pattern_windows_bring_their_third_mask() -> None:
    windows = pattern_windows(random_bars(8, 500, seed=5), 20)
    x, mask, pattern_mask = next(iter(Batches(windows.gather, len(windows), batch_size=4)))
    assert x.shape == (4, 20, 69)
    assert mask.shape == pattern_mask.shape == (4, 20)
    assert pattern_mask.any(dim=1).all()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(SequenceInputError, match="batch_size is 0"):
        Batches(arrays_of, N, batch_size=0)
    with pytest.raises(SequenceInputError, match=f"{N} windows have 3 targets"):
        Batches(arrays_of, N, np.zeros(3))


def test_no_windows_give_no_batches() -> None:
    assert list(Batches(arrays_of, 0)) == []

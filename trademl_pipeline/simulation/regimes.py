"""Consolidations and the moves that follow them: a Markov chain of regimes, and what it lets one expect.

A symbol trades normally until a consolidation begins. While it lasts, the symbol's noise and volume shrink.
It ends in a move of one of the classes K0 to K5: a drift over some sessions, then quiet ones until
`AFTERMATH` sessions have passed, which is the span that the outcome of a pattern is judged over
(definitions, "Consolidation patterns and outcomes"). Then the symbol trades normally again.

The class is drawn when the consolidation begins. Before the move nothing tells it but the leading signal that the
consolidation shows, see `simulation.leading_signal`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

CLASSES: tuple[str, ...] = ("K0", "K1", "K2", "K3", "K4", "K5")

# The frequencies of the outcomes in the data of the breakout seed.
DEFAULT_FREQUENCIES = {"K0": 0.457, "K1": 0.289, "K2": 0.08, "K3": 0.01, "K4": 0.004, "K5": 0.16}

AFTERMATH = 100
SHORTEST, LONGEST = 25, 60

# Per class: total log drift of the move and the sessions it takes. The gain that names a class is counted
# from the upper boundary, half a channel above the price, so each drift aims beyond its class's lower bound.
_MOVES = {
    "K0": (0.0, 0),
    "K1": (0.095, 40),
    "K2": (0.225, 50),
    "K3": (0.42, 60),
    "K4": (0.85, 70),
    "K5": (-0.26, 25),
}
_NOISE_NORMAL, _NOISE_MOVE, _NOISE_AFTER = 1.0, 0.5, 0.2
# Noise of a consolidation's last session, and what each session that remains adds.
_NOISE_LAST, _NOISE_REMAINING = 0.05, 0.35 / LONGEST
_VOLUME_MOVE = 1.15


@dataclass(frozen=True)
class RegimeChain:
    """The chain: its states, how one follows another, and what each does to a symbol's session.

    Attributes:
        frequencies: share of each class among the planted patterns; must sum to 1.
        start_probability: chance per session that a normal symbol begins to consolidate.

    States are numbered: 0 is normal; then, per class, the sessions of a consolidation by how many remain
    (LONGEST .. 1); then, per class, the sessions of a move (1 .. AFTERMATH).
    """

    frequencies: Mapping[str, float]
    start_probability: float = 1 / 300

    def __post_init__(self) -> None:
        if set(self.frequencies) - set(CLASSES):
            raise ValueError(f"breakout classes are {', '.join(CLASSES)}; got {sorted(self.frequencies)}")
        total = sum(self.frequencies.values())
        if abs(total - 1) > 1e-9 or min(self.frequencies.values()) < 0:
            raise ValueError(f"frequencies of breakout classes must be >= 0 and sum to 1, not {total}")
        if not 0 <= self.start_probability < 1:
            raise ValueError(
                f"start_probability is a chance per session in [0, 1), not {self.start_probability}"
            )

    @cached_property
    def shares(self) -> np.ndarray:
        """Frequencies in the order of CLASSES; shape (class,)."""
        return np.array([self.frequencies.get(name, 0.0) for name in CLASSES])

    @property
    def size(self) -> int:
        """Number of states."""
        return 1 + len(CLASSES) * (LONGEST + AFTERMATH)

    def consolidating(self, remaining: np.ndarray | int, label: np.ndarray | int) -> np.ndarray:
        """State of a consolidation with that many sessions left, this one included."""
        return np.asarray(1 + label * LONGEST + (LONGEST - remaining))

    def moving(self, step: np.ndarray | int, label: np.ndarray | int) -> np.ndarray:
        """State of the step-th session (from 1) of a move."""
        return np.asarray(1 + len(CLASSES) * LONGEST + label * AFTERMATH + (step - 1))

    @cached_property
    def remaining(self) -> np.ndarray:
        """Sessions of consolidation left, this one included; 0 outside of one. Shape (state,)."""
        values = np.zeros(self.size, dtype=np.int64)
        for label in range(len(CLASSES)):
            for n in range(1, LONGEST + 1):
                values[self.consolidating(n, label)] = n
        return values

    @cached_property
    def label(self) -> np.ndarray:
        """Class of each state, 0 for the normal one; shape (state,)."""
        blocks = np.repeat(np.arange(len(CLASSES)), LONGEST), np.repeat(np.arange(len(CLASSES)), AFTERMATH)
        return np.concatenate([[0], *blocks])

    @cached_property
    def following(self) -> np.ndarray:
        """The state after each one but the normal one, which is left by chance; shape (state,)."""
        values = np.zeros(self.size, dtype=np.int64)
        for label in range(len(CLASSES)):
            path = [self.consolidating(n, label) for n in range(LONGEST, 0, -1)]
            path += [self.moving(step, label) for step in range(1, AFTERMATH + 1)]
            for state, after in pairwise(path):
                values[state] = after
        return values

    @cached_property
    def drift(self) -> np.ndarray:
        """Log drift that each state adds to its session's return; shape (state,)."""
        values = np.zeros(self.size)
        for label, name in enumerate(CLASSES):
            total, length = _MOVES[name]
            for step in range(1, length + 1):
                values[self.moving(step, label)] = total / length
        return values

    @cached_property
    def noise(self) -> np.ndarray:
        """Factor on all of a symbol's random returns, the planted signal's included; shape (state,).

        It shrinks through a consolidation, so that the Bollinger width keeps reaching new lows of its own
        past and the price stays inside the channel of its first sessions.
        """
        values = np.full(self.size, _NOISE_NORMAL)
        for label, name in enumerate(CLASSES):
            for n in range(1, LONGEST + 1):
                values[self.consolidating(n, label)] = _NOISE_LAST + _NOISE_REMAINING * n
            for step in range(1, AFTERMATH + 1):
                values[self.moving(step, label)] = _NOISE_MOVE if step <= _MOVES[name][1] else _NOISE_AFTER
        return values

    @cached_property
    def volume(self) -> np.ndarray:
        """Factor on a symbol's volume; shape (state,)."""
        values = np.ones(self.size)
        for label, name in enumerate(CLASSES):
            for n in range(1, LONGEST + 1):
                values[self.consolidating(n, label)] = 0.6 + 0.3 * n / LONGEST
            for step in range(1, AFTERMATH + 1):
                moving = step <= _MOVES[name][1]
                values[self.moving(step, label)] = _VOLUME_MOVE if moving else 0.9
        return values

    def step(self, state: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """The next states, given one uniform number in [0, 1) and three uses of it per symbol.

        Args:
            state: shape (symbol,).
            uniform: shape (symbol, 3): whether a consolidation begins, how long it lasts, its class.
        """
        begins = (state == 0) & (uniform[:, 0] < self.start_probability)
        length = SHORTEST + (uniform[:, 1] * (LONGEST - SHORTEST + 1)).astype(np.int64)
        label = np.searchsorted(np.cumsum(self.shares)[:-1], uniform[:, 2], side="right")
        return np.where(begins, self.consolidating(length, label), self.following[state])

    def expected(self, value: np.ndarray, steps: int) -> np.ndarray:
        """E[value(state k sessions ahead) | state now] for k = 1 .. steps; shape (steps, state)."""
        lengths = np.arange(SHORTEST, LONGEST + 1)
        begun = np.stack([self.consolidating(lengths, label) for label in range(len(CLASSES))])
        ahead = np.empty((steps, self.size))
        current = value
        for k in range(steps):
            after = current[self.following]
            entering = float(self.shares @ current[begun].mean(axis=1))
            after[0] = (1 - self.start_probability) * current[0] + self.start_probability * entering
            ahead[k] = current = after
        return ahead


class PlantedEvent(NamedTuple):
    """A consolidation: sessions [start, breakout) of a symbol, and the class of the move that begins then.

    All are positions: of the sessions, the symbol and the class.
    """

    start: int
    breakout: int
    symbol: int
    label: int


def find_planted_events(chain: RegimeChain, state: np.ndarray, listed: np.ndarray) -> list[PlantedEvent]:
    """The consolidations that a symbol completed while listed.

    Args:
        chain: the chain that made the states.
        state: shape (session, symbol).
        listed: whether the symbol trades; shape (session, symbol).
    """
    first_move = chain.moving(1, np.arange(len(CLASSES)))
    events = []
    for t, i in np.argwhere(np.isin(state, first_move)).tolist():
        start = t
        while start > 0 and chain.remaining[state[start - 1, i]] > 0:
            start -= 1
        if start < t and listed[start : t + 1, i].all():
            label = int(np.flatnonzero(first_move == state[t, i])[0])
            events.append(PlantedEvent(start, t, i, label))
    return events

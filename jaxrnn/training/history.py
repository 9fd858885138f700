"""The record of a run: metrics, evaluations, and the best params by one of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import errors


class Best(NamedTuple):
    """The params of the best evaluation, its step and its score."""

    step: int
    score: float
    params: Any


class History(NamedTuple):
    """The record of a run.

    `metrics` has one entry a step under each name of the step's metrics. `evaluations` has one
    entry for each evaluation, under `step` and each name from `evaluate`. `best` are the params of
    the best evaluation, None where none is asked for or no score was a number. `finished` is true
    where nothing is left to do: every step is done, or the patience is at its end.
    """

    metrics: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]
    best: Best | None = None
    finished: bool = False


class Recorder:
    """A history that grows, and says which evaluation is the best one."""

    def __init__(self, history: History, best: str | None, mode: str | None):
        self.metrics = {name: [column] for name, column in history.metrics.items()}
        self.evaluations = {name: column.tolist() for name, column in history.evaluations.items()}
        self.best, self.name, self.mode = history.best, best, mode

    def add(self, rows: list[dict[str, Any]]) -> None:
        """The metrics of some steps."""
        for name in rows[0] if rows else ():
            self.metrics.setdefault(name, []).append(np.stack([row[name] for row in rows]))

    def judge(self, step: int, found: Any, state: Any) -> None:
        """Take an evaluation, and a copy of the params where no earlier one was as good."""
        known = set(self.evaluations) - {"step"} if self.evaluations else None
        errors.check_evaluation(found, known, self.name)
        for name, value in {"step": step, **found}.items():
            self.evaluations.setdefault(name, []).append(np.asarray(value).item())
        if self.name is not None and best_of(self.scores, self.mode) == len(self.scores) - 1:
            # A copy, since a step may donate its state.
            self.best = Best(step, self.scores[-1], jax.tree.map(jnp.copy, state.params))

    @property
    def scores(self) -> list[float]:
        return [] if self.name is None else self.evaluations.get(self.name, [])

    def exhausted(self, patience: int | None) -> bool:
        """Whether the last `patience` evaluations brought nothing better. It follows from the
        scores alone, so a resumed run stops where an uninterrupted one does.
        """
        if patience is None or self.name is None:
            return False
        best = best_of(self.scores, self.mode)
        return len(self.scores) - (0 if best is None else best + 1) >= patience

    def history(self, finished: bool) -> History:
        return History(
            {name: np.concatenate(column) for name, column in self.metrics.items()},
            {name: np.asarray(column) for name, column in self.evaluations.items()},
            self.best,
            finished,
        )


def best_of(scores: list[float], mode: str | None) -> int | None:
    """The place of the best score, the first of equal ones; NaN is never best."""
    sign = -1.0 if mode == "min" else 1.0
    numbers = [(sign * score, -n) for n, score in enumerate(scores) if not math.isnan(score)]
    return -max(numbers)[1] if numbers else None

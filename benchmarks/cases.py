"""What is measured: a registry of cases, each a function of weights and inputs that every library can compute."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GATES = {"lstm": 4, "gru": 3, "elman": 1}


class Case(NamedTuple):
    """A recurrent layer or a few: the loss is the mean square of all outputs, the gradient that in params and inputs.

    `cell` is one of lstm, gru (the reset after the matmul) and elman.
    """

    cell: str
    batch: int
    steps: int
    features: int
    hidden: int
    layers: int = 1
    both: bool = False
    ragged: bool = False
    quick: bool = False

    @property
    def name(self) -> str:
        extra = (f" {self.layers} layers" if self.layers > 1 else "") + (" both directions" if self.both else "") + (" ragged" if self.ragged else "")
        return f"{self.cell} {self.batch},{self.steps},{self.features},{self.hidden}{extra}"

    def sizes(self) -> list[int]:
        """The features each layer is given."""
        return [self.features] + [self.hidden * (2 if self.both else 1)] * (self.layers - 1)

    def weights(self) -> list[dict[str, np.ndarray]]:
        """For each layer (with both directions: forward and backward in turn) `w_x [F, G*H]`, `w_h [H, G*H]`, `b`, and a GRU's `b_n`, zero
        since nnx has none."""
        draw, h = np.random.default_rng(0), self.hidden

        def layer(size: int) -> dict[str, np.ndarray]:
            shapes = {"w_x": (size, GATES[self.cell] * h), "w_h": (h, GATES[self.cell] * h), "b": (GATES[self.cell] * h,)}
            drawn = {name: draw.uniform(-1, 1, shape).astype(np.float32) / np.float32(h) ** 0.5 for name, shape in shapes.items()}
            return drawn | ({"b_n": np.zeros(h, np.float32)} if self.cell == "gru" else {})

        return [layer(size) for size in self.sizes() for _ in range(2 if self.both else 1)]

    def inputs(self) -> np.ndarray:
        """`[T, B, F]`."""
        return np.random.default_rng(1).standard_normal((self.steps, self.batch, self.features)).astype(np.float32)

    def lengths(self) -> np.ndarray:
        """Of the rows of a ragged batch, the longest first, as torch packs them."""
        return np.linspace(self.steps, self.steps // 4, self.batch).astype(np.int32)

    def mask(self) -> np.ndarray | None:
        """`[T, B]`, true for the steps of a ragged row; None where all rows are whole."""
        return np.arange(self.steps)[:, None] < self.lengths() if self.ragged else None

    def flops(self) -> float:
        """Of the matrix products of a gradient: forward, and twice that backward."""
        return sum(3 * 2 * self.steps * self.batch * w.size for one in self.weights() for name, w in one.items() if name.startswith("w"))


SHAPES = ((1, 1000, 64, 64), (32, 128, 128, 128), (256, 64, 64, 64), (64, 256, 256, 256), (16, 512, 512, 512))
SMALL = (32, 128, 128, 128)

CASES = [Case(cell, *shape, quick=cell != "elman" and shape in SHAPES[:3]) for cell in ("lstm", "gru", "elman") for shape in SHAPES]
CASES += [Case("lstm", *SMALL, layers=2), Case("lstm", *SMALL, layers=4), Case("lstm", *SMALL, both=True), Case("lstm", *SMALL, ragged=True)]
GPU_CASES = [Case(cell, 128, 512, 1024, 1024) for cell in ("lstm", "gru")]

"""What is measured: a registry of cases, each a function of weights and inputs that every library
can compute."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GATES = {"lstm": 4, "gru": 3, "elman": 1, "linear": 0}
WORK = {
    "layer": ("forward", "gradient"),
    "sampling": ("forward",),
    "training": ("gradient",),
    "ensemble": ("forward", "gradient"),
    "population": ("forward", "gradient"),
    "recurrence": ("forward", "gradient"),
}
CHARACTERS = 96
OVER = {  # what a population's members differ in: the axes that `vmap` maps of params and inputs
    "params": (0, None),
    "xs": (None, 0),
    "both": (0, 0),
    "rows": (None, 0),
    "batch": None,
}


class Case(NamedTuple):
    """Work with a recurrent cell: lstm, gru (the reset after the matmul), elman, or linear.

    - layer: one or a few over a sequence; the loss is the mean square of all outputs, the gradient
      that in params and inputs.
    - sampling: T characters, each the likeliest after the last, from an embedding (F), the cell (H)
      and a head over 96 characters.
    - training: one step of the same net on B rows of T characters: the gradient of the cross
      entropy, clipped to norm 1, and Adam.
    - population: members of a layer by `vmap`, with params, inputs or both of their own; or the
      rows of a batch that comes first, and for comparison the same rows in the layer's own batch
      axis. The gradient is that in params.
    - ensemble: a population of eight over params, on the same inputs.
    - recurrence: `h_t = a_t h_{t-1} + b_t` of H numbers;
      the gradient is that in a, b and the first state.
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
    work: str = "layer"
    members: int = 8  # of an ensemble or a population
    over: str = "params"  # what its members differ in, a key of OVER

    @property
    def name(self) -> str:
        if self.work == "recurrence":
            return f"linear recurrence {self.steps},{self.hidden}"
        parts = {"rows": "rows by vmap", "batch": "rows by batch axis"}
        mapped = parts.get(self.over, f"{self.members} members by vmap over {self.over}")
        work = mapped if self.work == "population" else self.work
        facts = {
            work: self.work != "layer",
            f"{self.layers} layers": self.layers > 1,
            "both directions": self.both,
            "ragged": self.ragged,
        }
        return " ".join(
            [
                f"{self.cell} {self.batch},{self.steps},{self.features},{self.hidden}",
                *(word for word, holds in facts.items() if holds),
            ]
        )

    def sizes(self) -> list[int]:
        """The features each layer is given."""
        return [self.features] + [self.hidden * (2 if self.both else 1)] * (self.layers - 1)

    def weights(self) -> list[dict[str, np.ndarray]]:
        """For each layer (with both directions: forward and backward in turn) `w_x [F, G*H]`,
        `w_h [H, G*H]`, `b`, and a GRU's `b_n`, zero since nnx has none."""
        if self.work == "recurrence":
            return []
        draw, h = np.random.default_rng(0), self.hidden

        def layer(size: int) -> dict[str, np.ndarray]:
            shapes = {
                "w_x": (size, GATES[self.cell] * h),
                "w_h": (h, GATES[self.cell] * h),
                "b": (GATES[self.cell] * h,),
            }
            drawn = {
                name: draw.uniform(-1, 1, shape).astype(np.float32) / np.float32(h) ** 0.5
                for name, shape in shapes.items()
            }
            return drawn | ({"b_n": np.zeros(h, np.float32)} if self.cell == "gru" else {})

        count = self.members if self.own_params else 2 if self.both else 1
        return [layer(size) for size in self.sizes() for _ in range(count)]

    @property
    def own_params(self) -> bool:
        """Whether every member has params of its own."""
        return self.work in ("ensemble", "population") and self.over in ("params", "both")

    def net(self) -> dict[str, np.ndarray]:
        """What a net of characters has beside its cell: `embed [96, F]`, `head [H, 96]`."""
        draw = np.random.default_rng(2)
        return {
            name: draw.standard_normal(shape).astype(np.float32)
            for name, shape in (
                ("embed", (CHARACTERS, self.features)),
                ("head", (self.hidden, CHARACTERS)),
            )
        }

    def text(self) -> np.ndarray:
        """Characters `[T + 1, B]`."""
        return (
            np.random.default_rng(3)
            .integers(0, CHARACTERS, (self.steps + 1, self.batch))
            .astype(np.int32)
        )

    def coefficients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`a [T, H]` in (0, 1), `b [T, H]` and the first state `[H]`."""
        draw = np.random.default_rng(4)
        shape = (self.steps, self.hidden)
        a, b = 1 / (1 + np.exp(-draw.standard_normal(shape))), draw.standard_normal(shape)
        return a.astype(np.float32), b.astype(np.float32), np.ones(self.hidden, np.float32)

    def inputs(self) -> np.ndarray:
        """`[T, B, F]`; for members with inputs of their own `[N, T, B, F]`, for rows
        `[B, T, F]`."""
        several = (
            (self.members,) if self.work == "population" and self.over in ("xs", "both") else ()
        )
        shape = (*several, self.steps, self.batch, self.features)
        xs = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        first = self.work == "population" and self.over == "rows"
        return np.ascontiguousarray(xs.swapaxes(0, 1)) if first else xs

    def lengths(self) -> np.ndarray:
        """Of the rows of a ragged batch, the longest first, as torch packs them."""
        return np.linspace(self.steps, self.steps // 4, self.batch).astype(np.int32)

    def mask(self) -> np.ndarray | None:
        """`[T, B]`, true for the steps of a ragged row; None where all rows are whole."""
        return np.arange(self.steps)[:, None] < self.lengths() if self.ragged else None

    def flops(self) -> float:
        """Of the matrix products of a layer's gradient: forward, and twice that backward. Of other
        work none is counted."""
        if self.work != "layer":
            return 0.0
        return sum(
            3 * 2 * self.steps * self.batch * w.size
            for one in self.weights()
            for name, w in one.items()
            if name.startswith("w")
        )


SHAPES = (
    (1, 1000, 64, 64),
    (32, 128, 128, 128),
    (256, 64, 64, 64),
    (64, 256, 256, 256),
    (16, 512, 512, 512),
)
SMALL = (32, 128, 128, 128)

CASES = [
    Case(cell, *shape, quick=cell != "elman" and shape in SHAPES[:3])
    for cell in ("lstm", "gru", "elman")
    for shape in SHAPES
]
CASES += [
    Case("lstm", 1, 1000, 64, 256, work="sampling", quick=True),
    Case("gru", 1, 1000, 64, 256, work="sampling"),
    Case("lstm", 50, 100, 64, 256, work="training", quick=True),
    Case("lstm", 16, 128, 64, 64, work="ensemble"),
    *(
        Case(
            "gru", 8, 50, 32, 32, work="population", members=members, over=over, quick=members == 8
        )
        for over in ("xs", "params", "both")
        for members in (8, 256)
    ),
    *(Case("lstm", 64, 512, 128, 128, work="population", over=over) for over in ("rows", "batch")),
    *(
        Case("linear", 1, steps, 0, 256, work="recurrence", quick=steps == 2**14)
        for steps in (2**10, 2**14, 2**17)
    ),
]
CASES += [
    Case("lstm", *SMALL, layers=2),
    Case("lstm", *SMALL, layers=4),
    Case("lstm", *SMALL, both=True),
    Case("lstm", *SMALL, ragged=True),
]
GPU_CASES = [Case(cell, 128, 512, 1024, 1024) for cell in ("lstm", "gru")]

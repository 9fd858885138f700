"""What a library makes of a case: its forward pass and its gradient, compiled, with what they cost to compile and to keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Program:
    """`run("forward")` and `run("gradient")` wait for their results; `results()` is what the law compares."""

    def __init__(
        self,
        apply: Callable[[Any, Any], Any],
        params: Any,
        xs: np.ndarray,
        weights: Callable[[Any], list[dict[str, Any]]],
        cell: str,
        batch_first: bool = False,
    ):
        """
        Args:
          apply: outputs of params and inputs, of one shape whatever the library, save that batch comes first with `batch_first`.
          weights: the library's gradients in the registry's layout, `w_x` and `w_h` layer by layer.
          cell: what it computes; "gru before" is another function than "gru".
        """
        self.cell, self.weights, self.batch_first = cell, weights, batch_first
        self.args = jax.device_put((params, jnp.asarray(xs.swapaxes(0, 1) if batch_first else xs)))

        def loss(params: Any, xs: Any) -> Any:
            return jnp.mean(jnp.square(apply(params, xs)))

        self.facts: dict[str, Any] = {}
        self.runs = {}
        for name, f in (("forward", loss), ("gradient", jax.value_and_grad(loss, (0, 1)))):
            began = time.perf_counter()
            compiled = jax.jit(f).lower(*self.args).compile()
            self.facts[f"{name} compile seconds"] = time.perf_counter() - began
            self.facts[f"{name} temporaries"] = compiled.memory_analysis().temp_size_in_bytes
            self.runs[name] = compiled

    def run(self, name: str) -> Any:
        return jax.block_until_ready(self.runs[name](*self.args))

    def results(self) -> dict[str, np.ndarray]:
        loss, (dparams, dxs) = self.run("gradient")
        found = {"loss": loss, "dxs": dxs.swapaxes(0, 1) if self.batch_first else dxs}
        for k, layer in enumerate(self.weights(dparams)):
            found |= {f"{name} {k}": layer[name] for name in ("w_x", "w_h")}
        return {name: np.asarray(value) for name, value in found.items()}

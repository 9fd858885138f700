"""What a library makes of a case: what it runs, and what that costs to compile and to keep."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Compiled:
    """`run(name)` waits for the results of a pass; `results()` is what the law compares."""

    def __init__(
        self,
        passes: dict[str, Callable],
        args: tuple,
        named: Callable[[Any], dict[str, Any]],
        cell: str,
    ):
        """
        Args:
          passes: functions of `args`.
          named: the arrays to compare, of the results of the last pass.
          cell: what is computed; "gru before" is another function than "gru".
        """
        self.cell, self.named, self.passes = cell, named, passes
        self.args = jax.device_put(args)

    @functools.cached_property
    def compiled(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The passes, compiled for the device at hand, and what that cost."""
        runs, facts = {}, {}
        for name, f in self.passes.items():
            began = time.perf_counter()
            compiled = jax.jit(f).lower(*self.args).compile()
            facts[f"{name} compile seconds"] = time.perf_counter() - began
            facts[f"{name} temporaries"] = compiled.memory_analysis().temp_size_in_bytes
            runs[name] = compiled
        return runs, facts

    @property
    def facts(self) -> dict[str, Any]:
        return self.compiled[1]

    def run(self, name: str) -> Any:
        return jax.block_until_ready(self.compiled[0][name](*self.args))

    def results(self) -> dict[str, np.ndarray]:
        return {
            name: np.asarray(value)
            for name, value in self.named(self.run(list(self.passes)[-1])).items()
        }


class Program(Compiled):
    """A layer or a few."""

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
          apply: outputs of params and inputs, of one shape whatever the library, save that batch
            comes first with `batch_first`.
          weights: the library's gradients in the registry's layout, `w_x` and `w_h` layer by layer.
        """

        def loss(params: Any, xs: Any) -> Any:
            return jnp.mean(jnp.square(apply(params, xs)))

        def named(made: Any) -> dict[str, Any]:
            loss, (dparams, dxs) = made
            found = {"loss": loss, "dxs": dxs.swapaxes(0, 1) if batch_first else dxs}
            for k, layer in enumerate(weights(dparams)):
                found |= {f"{name} {k}": layer[name] for name in ("w_x", "w_h")}
            return found

        passes = {"forward": loss, "gradient": jax.value_and_grad(loss, (0, 1))}
        if len(jax.devices()) > 1:
            passes = split(passes, 0 if batch_first else 1)
        super().__init__(
            passes, (params, jnp.asarray(xs.swapaxes(0, 1) if batch_first else xs)), named, cell
        )


def split(passes: dict[str, Callable], axis: int) -> dict[str, Callable]:
    """The same with the batch, this axis of the inputs, over all devices; the means of the parts
    are that of the whole."""
    devices = jax.devices()
    mesh = jax.sharding.Mesh(np.array(devices), ("rows",))
    rows, all_ = jax.P(*[None] * axis, "rows"), jax.P()

    def forward(params: Any, xs: Any) -> Any:
        return jax.lax.pmean(passes["forward"](params, xs), "rows")

    def gradient(params: Any, xs: Any) -> Any:
        loss, (dparams, dxs) = passes["gradient"](params, xs)
        return *jax.lax.pmean((loss, dparams), "rows"), dxs / len(devices)

    def whole(f: Callable, out: Any) -> Callable:
        return jax.shard_map(f, mesh=mesh, in_specs=(all_, rows), out_specs=out, check_vma=False)

    def packed(params: Any, xs: Any) -> Any:
        loss, dparams, dxs = whole(gradient, (all_, all_, rows))(params, xs)
        return loss, (dparams, dxs)

    return {"forward": whole(forward, all_), "gradient": packed}

"""Any layer as a linen module."""

from typing import Any

import jax
from flax import linen
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrnn import Layer, Scan, Strategy, advance, errors
from jaxrnn.axes import step_spec
from jaxrnn.composite import params_spec
from jaxrnn.interop.flax.sequences import run
from jaxrnn.params import is_fixed

__all__ = ["Recurrent", "variables_of"]

COLLECTIONS = ("params", "fixed")


class Recurrent(linen.Module):
    """Any layer as a linen module, called as `linen.RNN` is and usable wherever it is, in
    `linen.Bidirectional` too.

        ys = unroll(layer, params, inputs)[1]

    Its arguments have linen's names, and linen's meaning: the batch comes first unless `time_major`
    says otherwise. `mask`, `resets` and `strategy` are those of `unroll`. The carry is the layer's
    state. Outputs under a false mask, and after a row's length, are zero.

    The collection "params" holds the layer's params by their keys, with the places of a tuple as
    "0", "1", and the collection "fixed" those under a key `fixed`, which are never trained:
    `variables_of(params)` makes both. Noise is on where `apply` is given `rngs={"dropout": key}`,
    unless `deterministic`.

    Shapes: inputs `[*batch, T, F]`, tokens `[*batch, T]`, outputs `[*batch, T, *]`; time first
    with `time_major`.

    Args:
      layer: a cell, a `Stack`, or any other layer that needs no memory.
      time_major: whether time is axis 0.
      return_carry: whether a call returns `(carry, outputs)`.
      reverse: run from the last step to the first.
      keep_order: whether a reversed run leaves outputs in their places (as `unroll` does) or, as in
        linen, puts them in the order in which they were made.
      strategy: how the steps are evaluated.
      deterministic: true turns noise off, false asks for the key; None goes by the key.

    Raises:
      TypeError, ValueError: in a call, for anything but a layer, and as `unroll`.

    Example:
      >>> module = Recurrent(LSTM(8))
      >>> variables = module.init(jax.random.key(0), jnp.ones((2, 5, 3)))
      >>> module.apply(variables, jnp.ones((2, 5, 3)), seq_lengths=jnp.array([5, 4])).shape
      (2, 5, 8)
      >>> carry = module.apply(variables, jnp.ones((2, 3)), method="initial_state")
      >>> carry, y = module.apply(variables, carry, jnp.ones((2, 3)), method="step")
      >>> y.shape
      (2, 8)
    """

    layer: Layer
    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    strategy: Strategy = Scan()
    deterministic: bool | None = None

    @linen.compact
    def __call__(
        self,
        inputs: Any,
        *,
        initial_carry: Any = None,
        init_key: Any = None,
        seq_lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        strategy: Strategy | None = None,
        deterministic: bool | None = None,
    ) -> Any:
        """Run a whole sequence.

        Args:
          inputs: `[*batch, T, F]`, or `[*batch, T]` tokens; time first with `time_major`.
          initial_carry: the state to begin with, by default the initial one.
          init_key: of no use, since no state is drawn; `linen.Bidirectional` passes one.
          seq_lengths: integers `[*batch]`, how many steps of each row are valid.
          mask: in place of lengths, booleans `[*batch, T]`, true where the step is valid.
          resets: booleans `[*batch, T]`, true where a new sequence begins.
          return_carry: by default, as all below, what the module was made with.
          time_major: whether time is axis 0.
          reverse: run from the last step to the first.
          keep_order: leave the outputs of a reversed run in their places.
          strategy: how the steps are evaluated.
          deterministic: whether noise is off.

        Returns:
          The outputs, or `(carry, outputs)` with `return_carry`.

        Raises:
          TypeError, ValueError: as `unroll`.
        """

        def given(name: str, value: Any) -> Any:
            return getattr(self, name) if value is None else value

        params = self._params(inputs)
        deterministic = given("deterministic", deterministic)
        noise = self.has_rng("dropout") if deterministic is None else not deterministic
        return run(
            self.layer,
            params,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            resets=resets,
            key=self.make_rng("dropout") if noise else None,
            time_major=given("time_major", time_major),
            reverse=given("reverse", reverse),
            keep_order=given("keep_order", keep_order),
            return_carry=given("return_carry", return_carry),
            strategy=given("strategy", strategy),
        )

    def initial_state(self, x: Any) -> Any:
        """The state before the first step, for one step's input `[*batch, F]`."""
        first, count = jax.tree.leaves(x)[0], jax.tree.leaves(self.layer.feature_ndim)[0]
        return self.layer.initial_state(self._params(x), first.shape[: first.ndim - count])

    def step(self, state: Any, x: Any, *, mask: Any = None, reset: Any = None) -> tuple[Any, Any]:
        """One step without noise, as `advance`: `(state, y)`."""
        return advance(self.layer, self._params(x), state, x, mask=mask, reset=reset)

    def _params(self, inputs: Any) -> Any:
        """The layer's params, drawn where variables are made."""
        errors.check_cell(self.layer, Layer)
        errors.check_inputs(self.layer, "inputs", inputs)
        spec = step_spec(self.layer, inputs)
        found = flatten_dict({name: self.variables.get(name, {}) for name in COLLECTIONS})
        if self.is_initializing() and not found:
            made = variables_of(self.layer.init(self.make_rng("params"), spec))
            for name, value in made["params"].items():
                self.param(name, lambda _, value=value: value)
            for name, value in made["fixed"].items():
                self.variable("fixed", name, lambda value=value: value)
            found = flatten_dict(made)
        need = params_spec(self.layer, spec)
        for place in places(need):
            if place not in found:
                raise errors.missing_leaf(self.layer, place, self.variables)
        return jax.tree.unflatten(jax.tree.structure(need), [found[p] for p in places(need)])


def places(params: Any) -> list[tuple[str, ...]]:
    """The path of each leaf in nested dicts, beneath its collection."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    name = jax.tree_util.keystr
    return [
        (COLLECTIONS[is_fixed(path)], *name(path, simple=True, separator="/").split("/"))
        for path in paths
    ]


def variables_of(params: Any) -> dict[str, Any]:
    """The variables of a `Recurrent` for params of its layer, such as `from_linen(...)[1]`.

    Example:
      >>> variables_of(({"w": 1.0}, {"fixed": {"w": 2.0}}))
      {'params': {'0': {'w': 1.0}}, 'fixed': {'1': {'fixed': {'w': 2.0}}}}
    """
    leaves = dict(zip(places(params), jax.tree.leaves(params), strict=True))
    return {name: {} for name in COLLECTIONS} | unflatten_dict(leaves)

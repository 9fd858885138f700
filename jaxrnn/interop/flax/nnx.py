"""Any layer as an `nnx.Module`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrnn import Layer, Scan, Strategy, advance, errors
from jaxrnn.autodiff._jax import dce
from jaxrnn.axes import step_spec
from jaxrnn.composite import one_step
from jaxrnn.interop.flax.sequences import run
from jaxrnn.layer import like_input
from jaxrnn.params import is_fixed

__all__ = ["Fixed", "Recurrent"]


class Fixed(nnx.Variable):
    """A weight that is never trained: a leaf under a key `fixed`, such as a reservoir.

    It is no `nnx.Param`, so `nnx.grad` and `nnx.Optimizer(wrt=nnx.Param)` leave it alone.

    Example:
      >>> module = Recurrent(EchoState(8), 3, rngs=nnx.Rngs(0))
      >>> len(jax.tree.leaves(nnx.state(module, Fixed))), len(nnx.state(module, nnx.Param))
      (4, 0)
    """


class Recurrent(nnx.Module):
    """Any layer as an `nnx.Module`, called as `nnx.RNN` is and usable wherever it is, in
    `nnx.Bidirectional` too.

        ys = unroll(layer, module.params, inputs)[1]

    Its arguments have nnx's names, and nnx's meaning: the batch comes first unless `time_major`
    says otherwise. `mask`, `resets` and `strategy` are those of `unroll`. The carry is the layer's
    state. Outputs under a false mask, and after a row's length, are zero.

    Weights are `nnx.Param`s, leaves under a key `fixed` are `Fixed`, and `module.weights` keeps the
    pytree of `layer.init`. Noise follows nnx's `Dropout`: it is on unless `deterministic`, which
    `module.train()` and `module.eval()` set, and its keys come from the stream "dropout". A layer
    without noise needs no such stream and counts no calls.

    Shapes: inputs `[*batch, T, F]`, tokens `[*batch, T]`, outputs `[*batch, T, *]`; time first
    with `time_major`.

    Args:
      layer: a cell, a `Stack`, or any other layer. One that looks at a memory is run by hand:
        `unroll(module.layer, module.layer.bind(module.params, memory), xs)`.
      in_features: what `layer.init` takes: a number of features, `TOKEN`, a spec or an example.
      time_major: whether time is axis 0.
      return_carry: whether a call returns `(carry, outputs)`.
      reverse: run from the last step to the first.
      keep_order: whether a reversed run leaves outputs in their places (as `unroll` does) or, as in
        nnx, puts them in the order in which they were made.
      strategy: how the steps are evaluated.
      deterministic: whether noise is off.
      rngs: streams "params" and, for a layer with noise, "dropout", or a default one.

    Raises:
      TypeError: for anything but a layer, an example of its inputs and `nnx.Rngs`.
      ValueError: for `rngs` without the streams that are needed.

    Example:
      >>> module = Recurrent(LSTM(8), 3, rngs=nnx.Rngs(0))
      >>> module(jnp.ones((2, 5, 3)), seq_lengths=jnp.array([5, 4])).shape
      (2, 5, 8)
      >>> carry, y = module.step(module.initial_state((2,)), jnp.ones((2, 3)))
      >>> y.shape
      (2, 8)
    """

    def __init__(
        self,
        layer: Layer,
        in_features: Any,
        *,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        strategy: Strategy = Scan(),
        deterministic: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        errors.check_cell(layer, Layer)
        if not isinstance(rngs, nnx.Rngs):
            raise errors.wrong_rngs(layer, rngs)
        self.layer = layer
        self.time_major, self.return_carry = time_major, return_carry
        self.reverse, self.keep_order = reverse, keep_order
        self.strategy, self.deterministic = strategy, deterministic
        x = like_input(layer, in_features)
        params = layer.init(stream(layer, rngs, "params", "weights are drawn")(), x)

        def variable(path: tuple, leaf: Any) -> nnx.Variable:
            return Fixed(leaf) if is_fixed(path) else nnx.Param(leaf)

        self.weights = nnx.data(jax.tree_util.tree_map_with_path(variable, params))
        noise = draws_noise(layer, params, x)
        self.rngs = nnx.data(
            stream(layer, rngs, "dropout", "the layer draws noise").fork() if noise else None
        )

    @property
    def params(self) -> Any:
        """The weights as `unroll` takes them: a pytree of arrays."""
        return jax.tree.map(lambda v: v[...], self.weights, is_leaf=is_variable)

    def set_params(self, params: Any) -> None:
        """Take over params of the layer, such as `from_nnx(cell)[1]`.

        Raises:
          ValueError: for params whose structure or shapes are not those of the module's.
        """
        if not errors.like(params, self.params):
            raise errors.unlike_module(self.layer, params, self.params)
        jax.tree.map(lambda v, leaf: v.set_value(leaf), self.weights, params, is_leaf=is_variable)

    def set_view(self, deterministic: bool | None = None) -> None:
        """Let `nnx.view(model, deterministic=...)` turn the noise off and on, as in nnx's
        `Dropout`.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def __call__(
        self,
        inputs: Any,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        strategy: Strategy | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
    ) -> Any:
        """Run a whole sequence.

        Args:
          inputs: `[*batch, T, F]`, or `[*batch, T]` tokens; time first with `time_major`.
          initial_carry: the state to begin with, by default the initial one.
          seq_lengths: integers `[*batch]`, how many steps of each row are valid.
          mask: in place of lengths, booleans `[*batch, T]`, true where the step is valid.
          resets: booleans `[*batch, T]`, true where a new sequence begins.
          return_carry: by default, as all below, what the module was made with.
          time_major: whether time is axis 0.
          reverse: run from the last step to the first.
          keep_order: leave the outputs of a reversed run in their places.
          strategy: how the steps are evaluated.
          deterministic: whether noise is off.
          rngs: where the key of the noise comes from, by default the module's own stream.

        Returns:
          The outputs, or `(carry, outputs)` with `return_carry`.

        Raises:
          TypeError, ValueError: as `unroll`; for `rngs` that give no key.
        """

        def given(name: str, value: Any) -> Any:
            return getattr(self, name) if value is None else value

        noise = self.rngs is not None and not given("deterministic", deterministic)
        return run(
            self.layer,
            self.params,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            resets=resets,
            key=noise_key(self.layer, given("rngs", rngs)) if noise else None,
            time_major=given("time_major", time_major),
            reverse=given("reverse", reverse),
            keep_order=given("keep_order", keep_order),
            return_carry=given("return_carry", return_carry),
            strategy=given("strategy", strategy),
        )

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """The state before the first step, what `initial_carry` is by default."""
        return self.layer.initial_state(self.params, batch_shape)

    def step(self, state: Any, x: Any, *, mask: Any = None, reset: Any = None) -> tuple[Any, Any]:
        """One step without noise, as `advance`: `(state, y)`."""
        return advance(self.layer, self.params, state, x, mask=mask, reset=reset)


def is_variable(node: Any) -> bool:
    """Whether a node is one of nnx's variables."""
    return isinstance(node, nnx.Variable)


def stream(layer: Layer, rngs: nnx.Rngs, name: str, why: str) -> nnx.RngStream:
    """The stream of a name, or the default one."""
    if name not in rngs and "default" not in rngs:
        raise errors.no_stream(layer, name, why)
    return rngs[name]


def noise_key(layer: Layer, rngs: Any) -> jax.Array:
    """A key from what nnx passes as `rngs`."""
    if isinstance(rngs, nnx.Rngs):
        return stream(layer, rngs, "dropout", "the layer draws noise")()
    if isinstance(rngs, nnx.RngStream):
        return rngs()
    if not isinstance(rngs, jax.Array):
        raise errors.no_noise_key(layer, rngs)
    return rngs


def draws_noise(layer: Layer, params: Any, x: Any) -> bool:
    """Whether the outputs of a layer depend on a key: whether dead code elimination leaves it."""
    if layer.takes_memory:  # it has no outputs before it is bound
        return False
    x = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), step_spec(layer, x))
    state = layer.initial_state(params)
    traced = jax.make_jaxpr(lambda key: one_step(layer, params, state, state, x, key, 0))
    return dce(traced(jax.random.key(0)))[1][0]

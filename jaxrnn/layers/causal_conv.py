"""Causal convolution over time."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import errors, initializers
from jaxrnn.authoring import input_spec, output, state_dtype
from jaxrnn.autodiff.products import matmul
from jaxrnn.controls import Piece
from jaxrnn.initializers import Initializer
from jaxrnn.layer import Params, State, WholeSequence


class CausalConv(WholeSequence):
    """A convolution over the last K inputs: a short memory, computed for a whole sequence without a
    loop.

        y_t = b + sum over k of x_{t-K+1+k} @ w[k],  or ... * w[k] where depthwise

    Before the first input come zeros, or the inputs in the state that is passed. Steps under a
    false mask are skipped: the window has the last K valid inputs. It does not reach across a
    reset.

    Shapes: x `[..., F]`, y `[..., width]`; state `[..., K, F]`, the last K inputs, the latest last
    (the output is read out of the state, so the state holds the current input too). Params:
    `w [K, F, width]`, or `[K, F]` where depthwise, and `b [width]`.

    Args:
      width: the size of the output.
      kernel: K, how many inputs an output sees.
      depthwise: convolve each feature by itself; then `width` must be F.
      w_init, b_init: initializers of `jax.nn.initializers`' protocol; the fan-in of `w` is K F, or
        K where depthwise.

    Raises:
      TypeError, ValueError: for a size below one, a `depthwise` that is no bool, or an initializer
        that is none; in `init`, for a depthwise width other than F.

    Example:
      >>> net = Stack((CausalConv(8, 4), LSTM(16)))
      >>> params = net.init(jax.random.key(0), features(3))

    Called `nn.Conv` with `padding="CAUSAL"` in Flax, `Conv1D` with `padding="causal"` in Keras. In
    PyTorch it is `nn.Conv1d` over inputs that are padded on the left.

    LeCun 1989; Waibel et al. 1989 (over time); van den Oord et al. 2016 (causal).
    """

    width: int
    kernel: int
    depthwise: bool = False
    _: KW_ONLY
    w_init: Initializer | None = None
    b_init: Initializer | None = None

    def __post_init__(self) -> None:
        errors.check_size(self, "width", self.width)
        errors.check_size(self, "kernel", self.kernel)
        errors.check_initializers(self)
        errors.check_flag(self, "depthwise", self.depthwise)

    def init(self, key: jax.Array, x: Any) -> Params:
        size, dtype = input_spec(self, x)
        if self.depthwise and size != self.width:
            raise errors.depthwise_width(self, x)
        shape = (self.kernel, size) if self.depthwise else (self.kernel, size, self.width)
        inputs = self.kernel if self.depthwise else self.kernel * size
        bound = (3 / inputs) ** 0.5  # variance 1 / fan-in
        params = {
            "w": jax.random.uniform(key, shape, dtype, -bound, bound),
            "b": jnp.zeros(self.width, dtype),
        }
        return initializers.replaced(self, key, params)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return jnp.zeros((*batch_shape, *params["w"].shape[:2]), state_dtype(params["w"]))

    def step(self, params: Params, state: State, x: jax.Array) -> tuple[State, jax.Array]:
        latest = x[..., None, :].astype(state.dtype)
        state = jnp.concatenate([state[..., 1:, :], latest], axis=-2)
        return state, self._sum(params, [state[..., k, :] for k in range(self.kernel)])

    def sequence(self, params: Params, piece: Piece) -> tuple[State, jax.Array]:
        state, start, xs, mask, resets, steps, reverse = piece
        xs = xs.astype(state.dtype)
        before = jnp.moveaxis(state, -2, 0)  # [K, ..., F], the latest last
        order = slice(None, None, -1 if reverse else 1)
        if mask is None and resets is None:
            # The window of step t is line[t + 1 .. t + K].
            line = jnp.concatenate([before, xs[order]])
            ys = self._sum(params, [line[k + 1 : k + 1 + steps] for k in range(self.kernel)])
            return jnp.moveaxis(line[steps:], 0, -2), ys[order]
        mask = jnp.ones(resets.shape, bool) if mask is None else mask
        places = window(mask[order], None if resets is None else resets[order], self.kernel)
        line = jnp.concatenate([jnp.moveaxis(start, -2, 0), before, xs[order]])
        taken = [jnp.take_along_axis(line, p[..., None], axis=0) for p in places]
        last = jnp.stack([a[-1] for a in taken], axis=-2) if steps else state
        return last, self._sum(params, taken)[order]

    def _sum(self, params: Params, inputs: list[jax.Array]) -> jax.Array:
        """The output from the K inputs of a window, the latest last."""
        w, wide = params["w"], state_dtype(params["w"])

        def product(k: int, x: jax.Array) -> jax.Array:
            if not self.depthwise:
                return matmul(x, w[k])
            return x.astype(w.dtype).astype(wide) * w[k].astype(wide)

        bias = params["b"].astype(wide)
        return output(sum((product(k, x) for k, x in enumerate(inputs)), bias), w)


def window(mask: jax.Array, resets: jax.Array | None, kernel: int) -> list[jax.Array]:
    """Where the window of each step lies: indices `[T, ...]` for each of its K places.

    They count along a line of inputs `[2 K + T, ...]`: K from the initial state, K from the state
    before, and those of the T steps. A window has the last K valid inputs since the latest reset.
    If there are fewer, it also has inputs from the initial state or, without a reset, from the
    state before.
    """
    steps = mask.shape[0]
    index = jnp.arange(steps, dtype=jnp.int32).reshape((-1,) + (1,) * (mask.ndim - 1))
    index = jnp.broadcast_to(index, mask.shape)
    none = jnp.full_like(index[:1], -1)
    latest = jax.lax.cummax(jnp.where(mask, index, -1), axis=0)
    earlier = jnp.concatenate([none, latest])[:steps]  # the latest valid step before each
    cut = jnp.full_like(index, -1)
    if resets is not None:
        cut = jax.lax.cummax(jnp.where(resets, index, -1), axis=0)

    places = []
    # The step in this place of the window; how many steps lie after it in the window.
    at, count = latest, jnp.zeros_like(index)
    for back in range(kernel):
        inside = at >= jnp.maximum(cut, 0)
        # Without a step left, the place has the input that was `count` places later in the state.
        held = jnp.where(cut >= 0, 0, kernel) + kernel - 1 - back + count
        places.append(jnp.where(inside, 2 * kernel + at, held))
        count = count + inside.astype(count.dtype)
        at = jnp.where(inside, jnp.take_along_axis(earlier, jnp.maximum(at, 0), axis=0), -1)
    return places[::-1]

"""The laws catch what they are there to catch: each broken cell is refused, and the message says
which law, where, by how much."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cells import Plain
from jaxrnn.testing import LawError, check_cell


@pytest.fixture(autouse=True, scope="module")
def fresh():
    yield
    jax.clear_caches()


class Looped(rnn.WholeSequence):
    """A sound layer that runs its own loop over the whole sequence; the broken ones change how it
    keeps and replaces its state."""

    hidden: int

    def init(self, key, x):
        return Plain(self.hidden).init(key, x)

    def initial_state(self, params, batch_shape=()):
        return Plain(self.hidden).initial_state(params, batch_shape)

    def step(self, params, state, x):
        plain = Plain(self.hidden)
        state = plain.step(params, state, plain.project(params, x), None)
        return state, plain.readout(params, state, None)

    def sequence(self, params, piece):
        def body(state, inputs):
            x, keep, reset = inputs
            if reset is not None:
                state = self.replaced(reset[..., None], piece.start, state)
            new, y = self.step(params, state, x)
            return (new if keep is None else self.kept(keep[..., None], new, state)), y

        inputs = (piece.zs, piece.mask, piece.resets)
        return jax.lax.scan(body, piece.state, inputs, reverse=piece.reverse)

    def replaced(self, reset, start, state):
        return jnp.where(reset, start, state)

    def kept(self, keep, new, state):
        return jnp.where(keep, new, state)


class Advancing(Looped):
    """Steps on where the mask is false."""

    def kept(self, keep, new, state):
        return new


class Multiplying(Looped):
    """Resets by multiplying, so that a NaN survives."""

    def replaced(self, reset, start, state):
        return reset.astype(state.dtype) * start + (~reset).astype(state.dtype) * state


class Late(Looped):
    """Ignores resets."""

    def replaced(self, reset, start, state):
        return state


class Noisy(Plain):
    """Draws from a key of its own instead of its noise."""

    def project(self, params, xs, noise=None):
        z = super().project(params, xs, noise)
        return z if noise is None else z + jax.random.normal(noise.sequence, z.shape, z.dtype)


class NotFromState(Plain):
    """Its output is a running sum of states, read from more than the new state."""

    def readout(self, params, state, z):
        y = super().readout(params, state, z)
        return jnp.cumsum(y, axis=0) if y.ndim == 3 else y


class MeanFree(Plain):
    """Its project subtracts the mean over time of what it is handed, so that cuts show."""

    def project(self, params, xs, noise=None):
        z = super().project(params, xs, noise)
        return z - z.mean(axis=0, keepdims=True)


class BatchNormal(Plain):
    """Its rows see each other."""

    def project(self, params, xs, noise=None):
        z = super().project(params, xs, noise)
        return z - z.mean(axis=tuple(range(1, z.ndim - 1)), keepdims=True)


@jax.custom_jvp
def wrong(x):
    return jnp.tanh(x)


@wrong.defjvp
def wrong_jvp(primals, tangents):
    y = jnp.tanh(primals[0])
    return y, (1 - y) * tangents[0]  # for 1 - y * y


class WrongGradient(Plain):
    def step(self, params, state, z, dot):
        return wrong(z + dot(state, "w_h"))


class Narrowing(Plain):
    def step(self, params, state, z, dot):
        return super().step(params, state, z, dot).astype(jnp.bfloat16)


class Widening(Plain):
    """Its outputs have the dtype of its state."""

    def readout(self, params, state, z):
        return state


class Alone(Plain):
    """Equal to itself alone."""

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


class Same(Plain):
    """Equal to every other of its class."""

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return 0


BROKEN = [
    (Noisy(3), 1, "unroll, bare, against a loop over advance: the outputs"),
    (NotFromState(3), 1, "the outputs"),
    (MeanFree(3), 2, r"Chunked\(.*against Scan\(\)"),
    (Advancing(3), 3, "a row of length 0 must end in its initial state"),
    (Multiplying(3), 4, "a NaN state before a reset must not survive"),
    (Late(3), 4, "a reset at t=3.*against the pieces run apart"),
    (BatchNormal(3), 5, "each row by itself"),
    (WrongGradient(3), 6, r"the gradient in params\['w_h'\] in float64 against finite differences"),
    (Narrowing(3), 7, r"a step with a leaf bfloat16\[4, 3\]; need float32\[4, 3\].*state_dtype"),
    (Widening(3), 7, r"outputs of float32 with params and inputs of bfloat16.*jaxrnn\.output"),
    (Alone(3), 7, "must equal itself"),
    (Same(3), 7, r"must not equal Same\(hidden=4\)"),
]


@pytest.mark.parametrize(
    ("cell", "law", "where"),
    BROKEN,
    ids=lambda value: type(value).__name__ if isinstance(value, rnn.Layer) else "",
)
def test_a_broken_cell_is_refused(cell, law, where):
    with pytest.raises(LawError, match=where) as caught:
        check_cell(cell, rnn.features(2), laws=(law,), strategies=(rnn.Chunked(2),))
    assert caught.value.law == law
    assert f"law {law} (" in str(caught.value)
    assert repr(cell) in str(caught.value)


def test_what_the_broken_ones_are_made_of_is_sound():
    check_cell(Looped(3), rnn.features(2), laws=(1, 3, 4))


def test_the_message_says_where_and_by_how_much():
    with pytest.raises(
        LawError,
        match=r"is off in \d+ of \d+ entries, most at \[\d.*\(t=\d\): \S+ against \S+, "
        r"by \S+ where \S+ is allowed",
    ):
        check_cell(NotFromState(3), rnn.features(2), laws=(1,))


def test_an_exception_is_told_under_the_law_that_met_it():
    class Raising(Plain):
        def readout(self, params, state, z):
            if z.ndim > 3:
                raise RuntimeError("two batch axes")
            return super().readout(params, state, z)

    with pytest.raises(LawError, match=r"law 5 .* it raised RuntimeError: two batch axes"):
        check_cell(Raising(3), rnn.features(2), laws=(5,))


def test_a_cell_is_held_to_the_dtypes_that_are_asked_for():
    """One that widens its outputs is sound in float32 alone; one that has a constant of float32 in
    its step is found in float64."""

    class Constant(Plain):
        def step(self, params, state, z, dot):
            return super().step(params, state, z, dot).astype(jnp.float32)

    check_cell(Widening(3), 2, laws=(7,), dtypes=(jnp.float32,))
    check_cell(rnn.LSTM(3), 2, laws=(7,), dtypes=("float16", np.float64))
    check_cell(Constant(3), 2, laws=(7,), dtypes=(jnp.float32,))
    with pytest.raises(LawError, match=r"with params of float64.*state_dtype"):
        check_cell(Constant(3), 2, laws=(7,), dtypes=(jnp.float64,))


def test_arguments():
    with pytest.raises(ValueError, match=r"got laws \[8\]; need numbers among"):
        check_cell(rnn.LSTM(3), rnn.features(2), laws=(8,))
    with pytest.raises(TypeError, match="where a cell is due"):
        check_cell("LSTM", rnn.features(2))


@pytest.mark.slow
def test_the_example(capsys):
    main = runpy.run_path(str(Path(__file__).parents[2] / "examples/your_own_cell.py"))["main"]
    with jax.numpy_dtype_promotion("standard"):  # optax needs it
        loss = main(["--updates", "150", "--steps", "10", "--hidden", "16", "--skip-laws"])
    assert loss < 0.1  # the mean as an answer has 0.167
    assert "loss" in capsys.readouterr().out

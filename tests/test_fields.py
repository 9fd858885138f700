"""Fields made with NumPy's numbers are those made with Python's."""

import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn

PAIRS = {
    "size": (rnn.LSTM(np.int64(8)), rnn.LSTM(8)),
    "an integer of JAX": (rnn.GRU(jnp.int32(8)), rnn.GRU(8)),
    "by name": (rnn.LSTM(hidden=np.uint8(8)), rnn.LSTM(8)),
    "rate": (rnn.Dropout(np.float32(0.5)), rnn.Dropout(0.5)),
    "rates": (
        rnn.Zoneout(rnn.LSTM(4), (np.float64(0.5), np.float16(0.25))),
        rnn.Zoneout(rnn.LSTM(4), (0.5, 0.25)),
    ),
    "flag": (
        rnn.CausalConv(2, 3, depthwise=np.bool_(True)),
        rnn.CausalConv(2, 3, depthwise=True),
    ),
    "strategy": (rnn.Chunked(np.int32(8)), rnn.Chunked(8)),
    "tolerance": (rnn.Newton(tol=np.float32(0.5)), rnn.Newton(tol=0.5)),
    "transform": (rnn.Dale(np.float32(0.5)), rnn.Dale(0.5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_numbers_of_numpy(name):
    made, plain = PAIRS[name]
    assert made == plain
    assert hash(made) == hash(plain)
    assert repr(made) == repr(plain) == repr(pickle.loads(pickle.dumps(made)))


def test_equal_layers_are_traced_once():
    traces = []

    @jax.jit
    def run(cell):
        traces.append(cell)
        return 0

    for hidden in (8, np.int64(8), jnp.int32(8)):
        run(rnn.LSTM(hidden))
    assert len(traces) == 1


def test_a_traced_number_is_no_field():
    with pytest.raises(TypeError, match=r"hidden=.*need an integer"):
        jax.jit(lambda n: rnn.LSTM(n) and 0)(8)
    with pytest.raises(TypeError, match=r"rate as a .*Tracer; need a float: fields are static"):
        jax.jit(lambda r: rnn.Dropout(r) and 0)(0.5)


def test_the_signature_is_that_of_the_fields():
    names = list(inspect.signature(rnn.Bidirectional).parameters)
    assert names == ["forward", "backward", "merge"]


def test_a_task_takes_them_too():
    batch = rnn.tasks.parity(jax.random.key(0), length=np.int64(5), batch=np.int32(3))
    assert batch.xs.shape == (5, 3)

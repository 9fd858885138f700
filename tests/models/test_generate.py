"""Many ragged sources at a time are written as one at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn import decoding
from jaxrnn.models import EncoderDecoder, generate

NET = EncoderDecoder(
    rnn.Stack((rnn.Embed(9, 4), rnn.Bidirectional(rnn.GRU(4)))),
    rnn.Stack((rnn.Embed(6, 4), rnn.GRU(4), rnn.Attention(4, memory=8), rnn.Dense(6))),
)
PARAMS = jax.tree.map(lambda p: 4 * p, NET.init(jax.random.key(5), rnn.TOKEN, rnn.TOKEN))
END = 5
SOURCES = [
    np.random.default_rng(i).integers(0, 9, n).astype(np.int32)
    for i, n in enumerate([3, 1, 7, 2, 4])
]


@pytest.mark.parametrize("beams", first(1, [3, 1]))
def test_each_source_is_written_as_if_alone(beams):
    found = generate(NET, PARAMS, SOURCES, 6, start=2, end=END, beams=beams, batch=2)
    lengths = set()
    for source, tokens in zip(SOURCES, found, strict=True):
        step, state = NET.start(PARAMS, source)
        if beams == 1:
            alone = decoding.greedy(step, state, jnp.array([2]), 6, end=END)[1]
        else:
            alone = decoding.beam(step, state, jnp.int32(2), 6, beams=beams, end=END).tokens[:, 0]
        np.testing.assert_array_equal(np.concatenate([tokens, [END] * (6 - len(tokens))]), alone)
        assert END not in tokens
        lengths.add(len(tokens))
    assert len(lengths) > 1


def test_forbidden_tokens_are_never_written():
    seen = np.concatenate(generate(NET, PARAMS, SOURCES, 6, start=2, end=END))
    banned = int(seen[0])
    assert banned not in np.concatenate(
        generate(NET, PARAMS, SOURCES, 6, start=2, end=END, forbidden=(banned,))
    )

"""Generation from ragged sources by an encoder-decoder, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import decoding, errors
from jaxrnn.data import Buckets
from jaxrnn.data.buckets import rows_of
from jaxrnn.layer import Params
from jaxrnn.models.encoder_decoder import EncoderDecoder


def generate(
    net: EncoderDecoder,
    params: Params,
    sources: Sequence[Any],
    length: int,
    *,
    start: int,
    end: int,
    beams: int = 5,
    penalty: float = 0.6,
    batch: int = 256,
    buckets: int = 2,
    forbidden: Sequence[int] = (),
) -> list[np.ndarray]:
    """The tokens that a net generates for each source, by beam search (greedily for one beam), in
    batches of few shapes.

    Args:
      net: an encoder-decoder over tokens.
      params: its params, from `net.init`.
      sources: arrays `[s_i, ...]`, at least one step each.
      length: how many tokens to generate at most.
      start: the token that begins a sequence.
      end: the token that ends a sequence.
      beams: how many beginnings the search keeps; 1 is greedy decoding.
      penalty: the length penalty, as in `decoding.beam`.
      batch: how many sources at a time.
      buckets: how many lengths they are padded to, each compiled for once.
      forbidden: tokens that are never generated.

    Returns:
      For each source its tokens `[n_i]`, start and end not among them; -1 throughout where the net
      gave NaN (a source or a start out of its vocabulary, say).

    Raises:
      TypeError: for anything but an `EncoderDecoder`, sources that are no list of arrays, or tokens
        and sizes that are no integers.
      ValueError: for a source without a step, a size below one, or an end or a forbidden token out
        of the vocabulary.

    Example:
      >>> decoder = Stack((Embed(7, 4), GRU(8), Attention(8, memory=8), Dense(7)))
      >>> net = EncoderDecoder(Stack((Embed(9, 4), GRU(8))), decoder)
      >>> params = net.init(jax.random.key(0), TOKEN, TOKEN)
      >>> outputs = generate(net, params, [np.array([1, 2, 3]), np.array([4])], 6, start=1, end=0)
      >>> len(outputs), max(map(len, outputs)) <= 6
      (2, True)
    """
    errors.check_net("generate", net, EncoderDecoder)
    sources = rows_of("generate", "", sources)
    length = errors.check_count("generate", "length", length, 0)
    beams = errors.check_count("generate", "beams", beams)
    batch = errors.check_count("generate", "batch", batch)
    for name, token in (("start", start), ("end", end), *(("forbidden", f) for f in forbidden)):
        errors.check_token(name, token, f"Pass {name} as it was in training.")
    outputs: list[Any] = [None] * len(sources)
    if not outputs:
        return outputs
    for part in Buckets((sources,), min(batch, len(sources)), buckets).ordered():
        tokens = np.asarray(
            _generate(
                net,
                params,
                part.columns[0],
                part.masks[0],
                start,
                int(end),
                penalty,
                tuple(map(int, forbidden)),
                length,
                beams,
            )
        )
        for i, row in zip(part.index, tokens.T, strict=True):
            if i >= 0:
                outputs[i] = row[: np.argmax(row == end)] if end in row else row
    return outputs


@partial(jax.jit, static_argnames=("end", "forbidden", "length", "beams"))
def _generate(
    net: EncoderDecoder,
    params: Params,
    source: Any,
    mask: Any,
    start: Any,
    end: int,
    penalty: Any,
    forbidden: tuple,
    length: int,
    beams: int,
) -> jax.Array:
    step, state = net.start(params, source, mask)
    first = jnp.broadcast_to(jnp.asarray(start, jnp.int32), mask.shape[1:])

    def allowed(state: Any, token: jax.Array) -> tuple[Any, jax.Array]:
        state, logits = step(state, token)
        for banned in forbidden:
            do = "Leave it out: it cannot be generated."
            errors.check_in_vocabulary("forbidden", banned, logits.shape[-1], do)
        return state, logits.at[..., np.array(forbidden, int)].set(
            -jnp.inf
        ) if forbidden else logits

    if beams == 1:
        return decoding.greedy(allowed, state, first[None], length, end=end)[1]
    return decoding.beam(
        allowed, state, first, length, beams=beams, end=end, penalty=penalty
    ).tokens[..., 0]

"""One net that reads a sequence, and another that writes a sequence of another length."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxrnn import diagnostics, errors, initializers
from jaxrnn.advance import advance
from jaxrnn.autodiff.products import matmul, wide
from jaxrnn.axes import batch_shape
from jaxrnn.layer import Layer, Params, State
from jaxrnn.strategies import Scan, Strategy
from jaxrnn.training import MaskedMean, scheduled_sampling
from jaxrnn.unroll import unroll

Bridge = Literal["dense", "copy", "none"]


class Seq2SeqBatch(NamedTuple):
    """A batch of sources `[S, ...]` with decoder inputs `xs [T, ...]` and targets `[T, ...]`; each
    input is the token before its target.

    `source_mask [S, ...]` and `mask [T, ...]` are true where the step is valid, or None. `sampling`
    is the probability that a token of `xs` is replaced by one of the decoder's own (scheduled
    sampling), or None.
    """

    source: Any
    xs: Any
    targets: Any
    source_mask: Any = None
    mask: Any = None
    sampling: Any = None

    @classmethod
    def of(
        cls,
        source: Any,
        target: Any,
        source_mask: Any = None,
        mask: Any = None,
        sampling: Any = None,
    ) -> Seq2SeqBatch:
        """From whole target sequences `target [T + 1, ...]`, with their start and end tokens.

        Example:
          >>> pairs = Seq2SeqBatch.of(jnp.zeros((4, 1)), jnp.array([[0], [5], [6], [1]]))
          >>> pairs.xs[:, 0].tolist(), pairs.targets[:, 0].tolist()
          ([0, 5, 6], [5, 6, 1])
        """
        errors.check_target(target)
        return cls(
            source,
            target[:-1],
            target[1:],
            source_mask,
            None if mask is None else mask[1:],
            sampling,
        )


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class EncoderDecoder:
    """An encoder that reads a sequence, a bridge from its last state to a decoder's first, and the
    decoder that writes another.

        s, memory = encoder(source)
        s_0 = bridge(s)
        logits = decoder(xs)            from s_0, looking at the memory where it attends

    The encoder's outputs are bound as the decoder's memory, which its `Attention` layers and
    `AttentionCell` cells look at; a decoder without them knows the source from its first state
    alone. An `EncoderDecoder` is configuration, like a cell: hashable, and static under jit.

    Shapes: source `[S, ..., F]` or tokens `[S, ...]`, xs `[T, ..., F]` or tokens `[T, ...]`, logits
    `[T, ..., V]`. Params: a dict of `encoder`, `decoder`, and `bridge`. For "dense" the bridge has
    `{"w" [E, D], "b" [D]}` for each array of the decoder's state. E is the size of the encoder's
    whole last state, D that of the array. Otherwise the bridge is empty.

    Args:
      encoder: any cell, `Bidirectional` too.
      decoder: a causal cell, with or without attention.
      bridge: "dense", `tanh(s @ w + b)`; "copy", where both states hold the same arrays; "none",
        the decoder's own initial state.

    Raises:
      TypeError: unless both are cells.
      ValueError: for an unknown bridge or a decoder that looks ahead; in `init`, for a copy between
        unlike states.

    Example:
      >>> decoder = Stack((Embed(7, 4), LSTM(8), Attention(8, memory=16), Dense(7)))
      >>> net = EncoderDecoder(Stack((Embed(9, 4), Bidirectional(LSTM(8)))), decoder)
      >>> params = net.init(jax.random.key(0), TOKEN, TOKEN)
      >>> source, xs = jnp.zeros((5, 2), jnp.int32), jnp.zeros((6, 2), jnp.int32)
      >>> net.apply(params, source, xs).shape
      (6, 2, 7)
      >>> step, state = net.start(params, source)
      >>> state, tokens = decoding.greedy(step, state, xs[:1], 3)
      >>> tokens.shape
      (3, 2)

    Cho et al. 2014; Sutskever, Vinyals & Le 2014; with attention: Bahdanau, Cho & Bengio 2015.
    """

    encoder: Layer
    decoder: Layer
    bridge: Bridge = "dense"

    def __post_init__(self) -> None:
        for cell in (self.encoder, self.decoder):
            errors.check_child(self, cell, Layer)
        if self.bridge not in get_args(Bridge):
            raise errors.unknown(self, "bridge", self.bridge, get_args(Bridge))
        if not self.decoder.causal:
            raise errors.not_causal(self.decoder, "EncoderDecoder")

    def init(self, key: jax.Array, source: Any, target: Any) -> Params:
        """Params for sources like `source` and decoder inputs like `target`: arrays or specs, as
        for `cell.init`.
        """
        errors.check_key(self, key)
        ke, kd, kb = jax.random.split(key, 3)
        encoder, decoder = self.encoder.init(ke, source), self.decoder.init(kd, target)
        given, need = self.encoder.initial_state(encoder), self.decoder.initial_state(decoder)
        if self.bridge == "copy":
            copied(self, given, need)
        leaves = jax.tree.leaves(need) if self.bridge == "dense" else []
        size = sum(leaf.size for leaf in jax.tree.leaves(given))
        if leaves and not size:
            raise errors.no_state(self)
        keys = jax.random.split(kb, max(len(leaves), 1))
        bridge = tuple(
            {
                "w": initializers.glorot(k, size, leaf.size, 1, wide(leaf.dtype)),
                "b": jnp.zeros(leaf.size, wide(leaf.dtype)),
            }
            for k, leaf in zip(keys, leaves, strict=False)
        )
        return {"encoder": encoder, "decoder": decoder, "bridge": bridge}

    def apply(
        self,
        params: Params,
        source: Any,
        xs: Any,
        *,
        source_mask: Any = None,
        mask: Any = None,
        key: jax.Array | None = None,
        strategy: Strategy = Scan(),
    ) -> jax.Array:
        """The decoder's outputs `[T, ..., V]` for these inputs (teacher forcing).

        Args:
          params: the params from `init`.
          source: the encoder's inputs, `[S, ..., F]` or tokens `[S, ...]`.
          xs: the decoder's inputs, `[T, ..., F]` or tokens `[T, ...]`: the target, one step late.
          source_mask: booleans `[S, ...]`, true where the step of the source is valid; what lies
            under false changes nothing.
          mask: booleans `[T, ...]`, true where the step of `xs` is valid.
          key: passing one is training mode, in both nets.
          strategy: how sequences are evaluated.
        """
        ke, kd, _ = keys(key)
        decoder, state = self.begin(params, source, source_mask, ke, strategy)
        return unroll(self.decoder, decoder, xs, state=state, mask=mask, key=kd, strategy=strategy)[
            1
        ]

    def start(self, params: Params, source: Any, source_mask: Any = None) -> tuple[Callable, State]:
        """A step `(state, token) -> (state, logits)` and its first state, for `decoding`.

        The mask `[S, ...]` is true where the step of the source is valid. A state repeated to
        `[B, K, ...]` takes tokens `[B, K]`: beams share the memory of their row.
        """
        decoder, state = self.begin(params, source, source_mask)
        return jax.tree_util.Partial(advance, self.decoder, decoder), state

    def begin(
        self,
        params: Params,
        source: Any,
        source_mask: Any = None,
        key: jax.Array | None = None,
        strategy: Strategy = Scan(),
    ) -> tuple[Params, State]:
        """The decoder's params, bound to the encoder's outputs, and its first state."""
        if not isinstance(params, dict) or set(params) != {"encoder", "decoder", "bridge"}:
            raise errors.wrong_net(self, params)
        final, memory = unroll(
            self.encoder, params["encoder"], source, mask=source_mask, key=key, strategy=strategy
        )
        decoder = params["decoder"]
        if self.decoder.takes_memory:
            errors.check_array(self, "its encoder's output", memory)
            decoder = self.decoder.bind(decoder, memory, source_mask)
        batch = batch_shape(self.encoder, source, 1)
        own = self.decoder.initial_state(decoder, batch)
        if self.bridge == "none" or not jax.tree.leaves(own):
            return decoder, own
        if self.bridge == "copy":
            return decoder, copied(self, final, own)
        rows = [
            leaf.reshape(*batch, math.prod(leaf.shape[len(batch) :]))
            for leaf in jax.tree.leaves(final)
        ]
        known = jnp.concatenate([row.astype(jnp.result_type(*rows)) for row in rows], -1)
        leaves, tree = jax.tree.flatten(own)
        sizes = [math.prod(leaf.shape[len(batch) :]) for leaf in leaves]
        spec = partial(jax.ShapeDtypeStruct, dtype=known.dtype)
        need = tuple({"w": spec((known.shape[-1], n)), "b": spec((n,))} for n in sizes)
        errors.check_bridge(self, params["bridge"], need)

        def crossed(p: Params, leaf: jax.Array) -> jax.Array:
            y = matmul(known, p["w"])
            return jnp.tanh(y + p["b"].astype(y.dtype)).reshape(leaf.shape).astype(leaf.dtype)

        return decoder, jax.tree.unflatten(
            tree, [crossed(p, leaf) for p, leaf in zip(params["bridge"], leaves, strict=True)]
        )

    def objective(
        self, loss: Callable[[Any, Any, Any], MaskedMean]
    ) -> Callable[[Params, Seq2SeqBatch, Any], MaskedMean]:
        """An objective for `training.make_step`: the loss of a `Seq2SeqBatch`, in training mode
        where a key is passed.

        Example:
          >>> decoder = Stack((Embed(7, 4), GRU(8), Attention(8, memory=8), Dense(7)))
          >>> net, tx = EncoderDecoder(GRU(8), decoder), optimizer(1e-3)
          >>> params = net.init(jax.random.key(0), features(3), TOKEN)
          >>> state = TrainState.create(None, params, tx, jax.random.key(1))
          >>> pairs = Seq2SeqBatch.of(jnp.ones((5, 2, 3)), jnp.zeros((7, 2), jnp.int32))
          >>> state, metrics = make_step(net.objective(cross_entropy), tx)(state, pairs)
        """
        errors.check_loss_function(self, loss)

        def objective(params: Params, batch: Seq2SeqBatch, key: Any = None) -> MaskedMean:
            errors.check_pairs_batch(self, batch, Seq2SeqBatch)
            ke, kd, ks = keys(key)
            decoder, state = self.begin(params, batch.source, batch.source_mask, ke)
            xs = batch.xs
            if batch.sampling is not None:
                ks = jax.random.key(0) if ks is None else ks
                xs = scheduled_sampling(
                    self.decoder,
                    decoder,
                    xs,
                    batch.sampling,
                    ks,
                    state=state,
                    mask=batch.mask,
                    noise=kd,
                )
            logits = unroll(self.decoder, decoder, xs, state=state, mask=batch.mask, key=kd)[1]
            return loss(logits, batch.targets, batch.mask)

        return objective

    def attention(
        self, params: Params, source: Any, xs: Any, *, source_mask: Any = None, mask: Any = None
    ) -> tuple[jax.Array, ...]:
        """Where the decoder looks while it reads `xs`: the weights `[T, ..., S]` of each of its
        attention layers, in their order. Both masks are true where the step is valid.
        """
        decoder, state = self.begin(params, source, source_mask)
        seen = diagnostics.record(self.decoder, decoder, xs, state=state, mask=mask)
        records = jax.tree.leaves(seen, is_leaf=lambda node: isinstance(node, diagnostics.Record))
        return tuple(
            record.gates.attention
            for record in records
            if hasattr(getattr(record, "gates", None), "attention")
        )


def keys(key: jax.Array | None) -> list[Any]:
    """Three keys: for the encoder, for the decoder and for sampling."""
    return [None if key is None else jax.random.fold_in(key, i) for i in range(3)]


def copied(net: EncoderDecoder, given: State, need: State) -> State:
    """The encoder's last state as the decoder's."""
    leaves, tree = jax.tree.flatten(need)
    others = jax.tree.leaves(given)
    if [(a.shape, a.dtype) for a in others] != [(a.shape, a.dtype) for a in leaves]:
        raise errors.wrong_copy(net, given, need)
    return jax.tree.unflatten(tree, others)

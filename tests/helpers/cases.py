"""The one table: CELLS x STRATEGIES x CONTROLS x DTYPES. Every law runs over it."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp

import jaxrnn as rnn
from helpers.cells import GRUD, Average, Both, Plain, Reading, Terms, halved, maxout, ring


class Case(NamedTuple):
    cell: rnn.Layer
    x: Any = rnn.features(2)
    random: bool = False  # whether a key changes the answer
    # Like another case in all but a branch, or made of others:
    # held to the laws by the slow tests alone.
    variant: bool = False


TOKENS = jnp.arange(5)  # their largest bounds the tokens that are drawn

SEEN = rnn.features(2), rnn.features(2, dtype=bool), rnn.features()

CELLS = {
    # cells
    "elman": Case(rnn.Elman(3)),
    "irnn": Case(rnn.Elman(3, activation="relu", identity=True), variant=True),
    "lstm": Case(rnn.LSTM(3)),
    "projected": Case(rnn.LSTM(4, projection=3), variant=True),
    "peephole": Case(rnn.PeepholeLSTM(3), variant=True),
    "gru": Case(rnn.GRU(3)),
    "gru before": Case(rnn.GRU(3, reset_after=False), variant=True),
    "normalised lstm": Case(rnn.LayerNormLSTM(4), variant=True),
    "normalised gru": Case(rnn.LayerNormGRU(4), variant=True),
    "echo state": Case(rnn.EchoState(4, leak=0.7)),
    "diagonal gru": Case(rnn.DiagonalGRU(3)),
    "diagonal lstm": Case(rnn.DiagonalLSTM(3), variant=True),
    # linear cells
    "lru": Case(rnn.LRU(3, r_max=0.9)),
    "s5": Case(rnn.S5(2), variant=True),
    "mingru": Case(rnn.MinGRU(3), variant=True),
    "minlstm": Case(rnn.MinLSTM(3), variant=True),
    "rg-lru": Case(rnn.RGLRU(), variant=True),
    "selective": Case(rnn.S6(2)),
    # layers
    "dense": Case(rnn.Dense(3, activation="tanh")),
    "embed": Case(rnn.Embed(5, 3), TOKENS),
    "one hot": Case(rnn.OneHot(5), TOKENS, variant=True),
    "apply": Case(rnn.Apply(maxout), rnn.features(4), variant=True),
    "dropout": Case(rnn.Dropout(0.4), random=True),
    "layer norm": Case(rnn.LayerNorm(), rnn.features(4)),
    "rms norm": Case(rnn.RMSNorm(), rnn.features(4), variant=True),
    "convolution": Case(rnn.CausalConv(3, 3)),
    "depthwise": Case(rnn.CausalConv(2, 2, depthwise=True), variant=True),
    # cells of cells
    "stack": Case(rnn.Stack((rnn.GRU(3), rnn.LSTM(2))), variant=True),
    "residual": Case(rnn.Residual(rnn.Elman(2))),
    "recurrent dropout": Case(rnn.RecurrentDropout(rnn.GRU(3), 0.4), random=True, variant=True),
    "recurrent dropout by step": Case(
        rnn.RecurrentDropout(rnn.Elman(3), 0.4, per="step"), random=True
    ),
    "zoneout": Case(rnn.Zoneout(rnn.LSTM(3), (0.3, 0.5)), random=True),
    "learned state": Case(rnn.LearnedState(rnn.LSTM(3))),
    "tied": Case(rnn.TiedEmbedding(5, 3, rnn.Elman(3)), TOKENS),
    "tied with a bias": Case(
        rnn.TiedEmbedding(5, 3, rnn.Elman(3), bias=True), TOKENS, variant=True
    ),
    "bidirectional": Case(rnn.Bidirectional(rnn.Elman(3))),
    "bidirectional pair": Case(
        rnn.Bidirectional(rnn.LSTM(3), rnn.Elman(2), merge="none"), variant=True
    ),
    # bound to a memory
    "attention": Case(Reading(rnn.Stack((rnn.Elman(3), rnn.Attention(3, 2))), 2)),
    "terms": Case(Terms(3)),
    "attend": Case(Reading(rnn.AttentionCell(rnn.Elman(3), 2), 2), variant=True),
    # nested
    "deep": Case(
        rnn.Stack(
            (rnn.Embed(5, 3), rnn.LSTM(3), rnn.Dropout(0.2), rnn.Residual(rnn.GRU(3)), rnn.Dense(2))
        ),
        TOKENS,
        random=True,
        variant=True,
    ),
    "deep bidirectional": Case(
        rnn.Stack(
            (
                rnn.Bidirectional(rnn.Elman(2), merge="product"),
                rnn.Residual(rnn.CausalConv(2, 2)),
                rnn.GRU(2),
            )
        ),
        variant=True,
    ),
    "mixed": Case(
        rnn.Stack(
            (rnn.LRU(2, r_max=0.9), rnn.LearnedState(rnn.MinGRU(3)), rnn.Bidirectional(rnn.GRU(2)))
        ),
        variant=True,
    ),
    "noisy": Case(
        rnn.Zoneout(rnn.RecurrentDropout(rnn.LSTM(2), 0.3, per="step"), 0.3),
        random=True,
        variant=True,
    ),
    # LayerNorm over few features magnifies the rounding of bfloat16: at a width of 3 half a digit
    # in the params moves gradients by 8 %.
    "learned stack": Case(
        rnn.LearnedState(
            rnn.Stack((rnn.CausalConv(8, 2), rnn.LayerNorm(), rnn.Zoneout(rnn.GRU(2), 0.2)))
        ),
        random=True,
        variant=True,
    ),
    # users' cells
    "average": Case(Average()),
    "plain": Case(Plain(3)),
    "both": Case(Both(3), variant=True),
    # inputs of several arrays
    "gru-d": Case(GRUD(3), SEEN),
    "gru-d stack": Case(rnn.Stack((rnn.Bidirectional(GRUD(2)), rnn.Dense(2))), SEEN, variant=True),
    # transformed weights
    "transformed": Case(rnn.TransformedWeights(rnn.GRU(3), rnn.Dale(0.6))),
    "transformed stack": Case(
        rnn.TransformedWeights(
            rnn.Stack((rnn.RecurrentDropout(rnn.LSTM(3), 0.3), rnn.LearnedState(rnn.Elman(2)))),
            rnn.SpectralNorm(0.9, ("w_x", "w_h")),
        ),
        random=True,
        variant=True,
    ),
    "transformed both ways": Case(
        rnn.TransformedWeights(
            rnn.TransformedWeights(rnn.Bidirectional(rnn.GRU(3), rnn.LRU(2, r_max=0.9)), halved),
            rnn.Masked(ring),
        ),
        variant=True,
    ),
    "transformed attend": Case(
        Reading(rnn.TransformedWeights(rnn.AttentionCell(rnn.Elman(3), 2), halved), 2),
        variant=True,
    ),
    # for long memories
    "antisymmetric": Case(rnn.AntisymmetricRNN(3, eps=0.5, gamma=0.1), variant=True),
    "independent": Case(rnn.IndRNN(3), variant=True),
    "oscillatory": Case(rnn.CoRNN(3, dt=0.3), variant=True),
    "modrelu": Case(rnn.Elman(3, "modrelu"), variant=True),
    "orthogonal": Case(rnn.TransformedWeights(rnn.Elman(3), rnn.Orthogonal()), variant=True),
}

STRATEGIES = {
    "scan": rnn.Scan(),
    "unrolled": rnn.Scan(unroll=2),
    "chunked": rnn.Chunked(2),  # which does not divide the number of steps
    "kept": rnn.Chunked(3, remat=False, inner=rnn.Scan(unroll=2)),
    "cut twice": rnn.Chunked(levels=2),  # by 4 and by 2
}

# Side by side in time: pieces that do not divide the number of steps, even on a CPU, where one loop
# is the default.
LINEAR = {
    "associative": rnn.Associative(radix=2, fallback=rnn.Scan()),
    "associative in chunks": rnn.Chunked(3, inner=rnn.Associative(fallback=rnn.Scan())),
    "auto": rnn.Auto(),
}
NEWTON = {
    "newton": rnn.Newton(),
    "newton, diagonal": rnn.Newton(jacobian="diagonal"),
    "newton in pieces": rnn.Chunked(3, inner=rnn.Newton(radix=2)),
}


def parallel(name: str) -> dict[str, rnn.Strategy]:
    """The strategies of these two tables that run a case otherwise than `Scan` does: for a
    nonlinear cell one in turn, so that all meet many."""
    cells = [cell for cell in kinds(CELLS[name].cell) if issubclass(cell, rnn.Cell)]
    linear = LINEAR if any(issubclass(cell, rnn.LinearCell) for cell in cells) else {}
    turn = list(NEWTON)[list(CELLS).index(name) % len(NEWTON)]
    return linear | (
        {turn: NEWTON[turn]} if any(not issubclass(cell, rnn.LinearCell) for cell in cells) else {}
    )


# Each in both directions of time.
CONTROLS = {
    "none": (False, False),
    "mask": (True, False),
    "resets": (False, True),
    "both": (True, True),
}

DTYPES = {"float32": jnp.float32, "float64": jnp.float64, "bfloat16": jnp.bfloat16}


def dtypes(name: str) -> list[str]:
    """float32 and one of the others in turn; float64 wherever a linear cell is evaluated in
    parallel. A variant, whose dtypes are those of another case, meets one of the two in turn."""
    turn = list(CELLS).index(name)
    wide = parallel(name).keys() & LINEAR.keys() or turn % 2
    both = ["float32", "float64" if wide else "bfloat16"]
    return both[turn // 2 % 2 :][:1] if CELLS[name].variant else both


def kinds(value: Any) -> set[type]:
    """The classes of all cells and strategies within one."""
    found = {type(value)} if isinstance(value, rnn.Layer | rnn.Strategy) else set()
    parts = (
        value
        if isinstance(value, tuple)
        else [getattr(value, f.name) for f in dataclasses.fields(value)]
        if found
        else []
    )
    return found.union(*(kinds(part) for part in parts))

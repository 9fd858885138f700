"""Bad calls of losses."""

import jax.numpy as jnp
import numpy as np

from helpers.bad_calls import at
from jaxrnn.training import (
    MaskedMean,
    binary_cross_entropy,
    cross_entropy,
    ctc,
    gaussian_nll,
    mse,
)

XS = jnp.ones((4, 2, 2))
TOKENS = jnp.zeros((4, 2), jnp.int32)
LOGITS = jnp.zeros((4, 2, 3))
MASK = jnp.ones((4, 2), bool)

CALLS = [
    at("logits as a list", TypeError, ("outputs", "list"), cross_entropy, [[0.0]], TOKENS),
    at("logits of integers", TypeError, ("floating outputs",), cross_entropy, TOKENS, TOKENS),
    at("logits without axes", ValueError, ("[T, ..., F]",), mse, jnp.ones(()), 1.0),
    at("targets that are floats", TypeError, ("tokens",), cross_entropy, LOGITS, LOGITS[..., 0]),
    at("targets that are a list", TypeError, ("targets", "list"), cross_entropy, LOGITS, [0, 1]),
    at("one-hot targets", TypeError, ("integers",), cross_entropy, LOGITS, LOGITS),
    at("complex targets", TypeError, ("real",), mse, LOGITS, LOGITS.astype(complex)),
    at("a mask of floats", TypeError, ("mask",), cross_entropy, LOGITS, TOKENS, LOGITS[..., 0]),
    at("a mask as a list", TypeError, ("mask", "list"), mse, LOGITS, LOGITS, [True]),
    at("a mask of rows", ValueError, ("mask", "(4, 2)"), mse, LOGITS, LOGITS, MASK[0]),
    at("smoothing 1", ValueError, ("smoothing",), cross_entropy, LOGITS, TOKENS, smoothing=1.0),
    at("smoothing a word", TypeError, ("smoothing",), cross_entropy, LOGITS, TOKENS, smoothing="a"),
    at("two weights", ValueError, ("(2,)", "3"), cross_entropy, LOGITS, TOKENS, weights=(1.0, 2.0)),
    at("one weight", TypeError, ("3 numbers",), cross_entropy, LOGITS, TOKENS, weights=2.0),
    at(
        "words as weights", TypeError, ("tuple",), cross_entropy, LOGITS, TOKENS, weights=("a",) * 3
    ),
    at("weights below 0", ValueError, ("-1",), cross_entropy, LOGITS, TOKENS, weights=(-1, 1, 1)),
    at(
        "a weight of NaN",
        ValueError,
        ("nan",),
        cross_entropy,
        LOGITS,
        TOKENS,
        weights=(np.nan, 1, 1),
    ),
    at("bits, a class each", ValueError, ("(4, 2, 3)",), binary_cross_entropy, LOGITS, TOKENS),
    at("bits from integers", TypeError, ("floating",), binary_cross_entropy, TOKENS, TOKENS),
    at("means alone", ValueError, ("Dense(2 * F)",), gaussian_nll, LOGITS, LOGITS),
    at("a normal list", TypeError, ("targets", "list"), gaussian_nll, LOGITS, [1.0]),
    at("labels of floats", TypeError, ("integers",), ctc, LOGITS, LOGITS[..., 0]),
    at("labels of one row", ValueError, ("targets",), ctc, LOGITS, jnp.ones(2, int)),
    at("labels batch first", ValueError, ("targets",), ctc, LOGITS, jnp.ones((2, 5), int)),
    at("logits of one step", ValueError, ("[T, ..., F]",), ctc, LOGITS[0, 0], jnp.ones(2, int)),
    at("a blank too far", ValueError, ("blank=3",), ctc, LOGITS, TOKENS, blank=3),
    at("a blank below 0", ValueError, ("blank=-1",), ctc, LOGITS, TOKENS, blank=-1),
    at("a blank of words", TypeError, ("blank='_'",), ctc, LOGITS, TOKENS, blank="_"),
    at(
        "lengths as a mask",
        ValueError,
        ("lengths_to_mask(lengths, 4)",),
        ctc,
        LOGITS,
        TOKENS,
        jnp.array([4, 3]),
    ),
    at("label lengths", TypeError, ("target_mask",), ctc, LOGITS, TOKENS, target_mask=TOKENS),
    at("values as a list", TypeError, ("values", "list"), MaskedMean.over, [1.0]),
    at("complex values", TypeError, ("real",), MaskedMean.over, XS.astype(complex)),
    at("a penalty added", TypeError, ("loss.plus",), lambda: MaskedMean.over(XS) + 1.0),
]

"""Bad calls of steps, optimizers, scores and `Pooled`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn as rnn
from helpers.bad_calls import Bad, at
from jaxrnn import data, training
from jaxrnn.training import (
    Batch,
    MaskedMean,
    TrainState,
    bptt_step,
    cross_entropy,
    evaluate,
    make_step,
    mse,
    optimizer,
    score,
    truncated_bptt_step,
    warmup_cosine,
)

NET = rnn.Dense(3)
KEY = jax.random.key(0)
PARAMS = NET.init(KEY, 2)
TX = optax.sgd(0.1)
STATE = TrainState.create(NET, PARAMS, TX, KEY)
XS = jnp.ones((4, 2, 2))
TOKENS = jnp.zeros((4, 2), jnp.int32)
BATCH = Batch(XS, TOKENS)
LOGITS = jnp.zeros((4, 2, 3))
MASK = jnp.ones((4, 2), bool)
STEP = bptt_step(NET, cross_entropy, TX)
SEGMENT_STEP = truncated_bptt_step(NET, cross_entropy, TX)
ANY_STEP = make_step(lambda params, batch, key: MaskedMean.over(batch), TX)
ROWS = [np.ones((n, 2), np.float32) for n in (2, 3)]
TAGS = [np.zeros(n, np.int32) for n in (2, 3)]
LABELS = np.array([0, 1])
TAGGED = data.Buckets((ROWS, TAGS), batch=2)
PLAIN = data.Buckets((ROWS, LABELS), batch=2)
POOLED = rnn.Pooled(rnn.Dense(2), NET, "mean")
POOLED_PARAMS = (rnn.Dense(2).init(KEY, 2), PARAMS)
WORDS = rnn.Stack((rnn.Embed(3, 2), NET))
WORDS_PARAMS = WORDS.init(KEY, rnn.TOKEN)


def returning(result):
    """A step whose loss returns this."""
    return lambda: bptt_step(NET, lambda ys, targets, mask: result, TX)(STATE, BATCH)


def summing(result):
    """A score whose objective returns this."""
    return lambda: score(lambda params, batch, key: result, PARAMS, [BATCH])


def create(cell=NET, params=PARAMS, tx=TX, key=KEY, batch_shape=None):
    return TrainState.create(cell, params, tx, key, batch_shape)


def sampled(xs=TOKENS, rate=0.5, key=KEY, **more):
    return training.scheduled_sampling(WORDS, WORDS_PARAMS, xs, rate, key, **more)


RESULTS = [
    Bad("an array for a loss", returning(jnp.ones(())), TypeError, ("MaskedMean", "float32[]")),
    Bad("a float for a loss", returning(1.0), TypeError, ("MaskedMean", "float")),
    Bad("a pair for a loss", returning((1.0, 2)), TypeError, ("MaskedMean", "tuple")),
    Bad("None for a loss", returning(None), TypeError, ("MaskedMean", "NoneType")),
    Bad("a total of rows", returning(MaskedMean(XS, 1)), ValueError, ("total", "over")),
    Bad("steps of rows", returning(MaskedMean(1.0, TOKENS)), ValueError, ("steps",)),
    Bad("steps by weight", returning(MaskedMean(1.0, 0.5)), TypeError, ("steps", "weights")),
    Bad("a total of None", returning(MaskedMean(None, 1)), TypeError, ("total",)),
    Bad("a score of an array", summing(XS), TypeError, ("score", "MaskedMean")),
    Bad("a score of three", summing((*MaskedMean(1.0, 1), 2.0)), TypeError, ("score", "tuple")),
    Bad(
        "an evaluation of an array",
        lambda: evaluate(NET, lambda ys, targets, mask: ys, PARAMS, BATCH),
        TypeError,
        ("MaskedMean", "Dense"),
    ),
    Bad(
        "an objective of a float",
        lambda: make_step(lambda params, batch, key: 1.0, TX)(STATE, BATCH),
        TypeError,
        ("make_step", "MaskedMean"),
    ),
]

BATCHES = [
    at("a pair as a batch", TypeError, ("tuple", "Batch(xs, targets"), STEP, STATE, (XS, TOKENS)),
    at("a dict as a batch", TypeError, ("dict", "Batch"), STEP, STATE, {"xs": XS}),
    at("an array as a batch", TypeError, ("float32[4, 2, 2]",), STEP, STATE, XS),
    at("no batch", TypeError, ("None",), STEP, STATE, None),
    at("the source as a batch", TypeError, ("batches(0)",), STEP, STATE, TAGGED),
    at("a label a row", ValueError, ("Pooled", "plain"), STEP, STATE, PLAIN(0)),
    at("one column", ValueError, ("1 columns",), STEP, STATE, data.Buckets((ROWS,), 2)(0)),
    at(
        "columns of other lengths",
        ValueError,
        ("lengths", "EncoderDecoder"),
        STEP,
        STATE,
        data.Buckets((ROWS, TAGS[::-1]), batch=2)(0),
    ),
    at("a plain input", ValueError, ("plain",), STEP, STATE, data.Buckets((LABELS, TAGS), 2)(0)),
    at("words in a batch", TypeError, ("batch.xs",), STEP, STATE, Batch("hello", TOKENS)),
    at(
        "ragged arrays",
        TypeError,
        ("object",),
        STEP,
        STATE,
        Batch(np.array([1, "a"], object), TOKENS),
    ),
    at("no targets", TypeError, ("targets", "NoneType"), STEP, STATE, Batch(XS, None)),
    at("fewer targets", ValueError, ("time axis",), STEP, STATE, Batch(XS, TOKENS[:2])),
    at("words for any step", TypeError, ("make_step",), ANY_STEP, STATE, "hello"),
    at("rows as a segment", TypeError, ("whole sequences",), SEGMENT_STEP, STATE, TAGGED(0)),
    at("a pair as a segment", TypeError, ("tuple",), SEGMENT_STEP, STATE, (XS, TOKENS)),
    at(
        "a pair evaluated",
        TypeError,
        ("tuple",),
        evaluate,
        NET,
        cross_entropy,
        PARAMS,
        (XS, TOKENS),
    ),
    at("labels evaluated", ValueError, ("Pooled",), evaluate, NET, cross_entropy, PARAMS, PLAIN),
    at(
        "a state of buckets",
        ValueError,
        ("state",),
        evaluate,
        NET,
        cross_entropy,
        PARAMS,
        TAGGED,
        (),
    ),
    at(
        "a pooled net evaluated",
        TypeError,
        ("score(net.objective(loss)",),
        evaluate,
        POOLED,
        cross_entropy,
        POOLED_PARAMS,
        PLAIN,
    ),
    at("one batch scored", TypeError, ("[batch]",), score, lambda p, b, k: b, PARAMS, BATCH),
    at("a source scored", TypeError, ("range(n)",), score, lambda p, b, k: b, PARAMS, lambda n: n),
    at("nothing scored", ValueError, ("no batches",), score, lambda p, b, k: b, PARAMS, []),
    at("a net scored", TypeError, ("objective(params",), score, NET, PARAMS, [BATCH]),
    at("a model scored", TypeError, ("objective(cross_entropy)",), score, POOLED, PARAMS, PLAIN),
]

STEPS = [
    at("a loss that is no function", TypeError, ("loss",), bptt_step, NET, "mse", TX),
    at("loss and tx exchanged", TypeError, ("order",), bptt_step, NET, TX, cross_entropy),
    at("a loss of two", TypeError, ("mask",), bptt_step, NET, lambda a, b: a, TX),
    at(
        "a loss of optax",
        TypeError,
        ("MaskedMean.over(softmax",),
        bptt_step,
        NET,
        optax.softmax_cross_entropy_with_integer_labels,
        TX,
    ),
    at("a class as a net", TypeError, ("class itself",), bptt_step, rnn.LSTM, mse, TX),
    at("a pooled net", TypeError, ("make_step(",), bptt_step, POOLED, cross_entropy, TX),
    at("a net to make_step", TypeError, ("objective",), make_step, NET, TX),
    at("a model to make_step", TypeError, ("objective(cross",), make_step, POOLED, TX),
    at("an objective of two", TypeError, ("key",), make_step, lambda p, b: p, TX),
    at("a rate as tx", TypeError, ("optimizer(1e-3)",), bptt_step, NET, mse, 1e-3),
    at("adam as tx", TypeError, ("Call it",), bptt_step, NET, mse, optax.adam),
    at(
        "a strategy's class",
        TypeError,
        ("Scan()",),
        partial(evaluate, strategy=rnn.Scan),
        NET,
        cross_entropy,
        PARAMS,
        BATCH,
    ),
    at(
        "a segment of a net that looks ahead",
        ValueError,
        ("causal",),
        truncated_bptt_step,
        rnn.Bidirectional(rnn.GRU(2)),
        mse,
        TX,
    ),
    at("params as a state", TypeError, ("TrainState.create",), STEP, PARAMS, BATCH),
    at(
        "a state of another rule",
        ValueError,
        ("another optimizer",),
        STEP,
        create(tx=optax.adam(0.1)),
        BATCH,
    ),
    at(
        "params of another net",
        ValueError,
        ("params",),
        STEP,
        STATE._replace(params=rnn.Dense(4).init(KEY, 5)),
        BATCH,
    ),
    at("no carry", ValueError, ("recurrent state",), SEGMENT_STEP, STATE, BATCH),
    at("an integer as a key", TypeError, ("jax.random.key(0)",), create, key=0),
    at("floats as a key", TypeError, ("PRNG key",), create, key=jnp.ones(2)),
    at("many keys", ValueError, ("one PRNG key",), create, key=jax.random.split(KEY)),
    at("a number of rows", TypeError, ("(4,)",), create, batch_shape=4),
    at("a list of rows", TypeError, ("tuple",), create, batch_shape=[4]),
    at("rows by halves", ValueError, ("integers",), create, batch_shape=(4.5,)),
    at("rows below none", ValueError, ("below 0",), create, batch_shape=(-1,)),
    at("rows without a net", ValueError, ("first argument",), create, cell=None, batch_shape=(4,)),
    at("a rate for an optimizer", TypeError, ("optimizer(1e-3)",), create, tx=1e-3),
    at("key and tx exchanged", TypeError, ("PRNG key",), create, tx=KEY, key=TX),
    at("the carry of another net", ValueError, ("params",), create, rnn.GRU(2), batch_shape=(4,)),
    at("a key of the state", TypeError, ("key",), STEP, STATE._replace(key=1), BATCH),
    at("no step", TypeError, ("step",), STEP, STATE._replace(step=None), BATCH),
    at("words as params", TypeError, ("params",), STEP, STATE._replace(params="w"), BATCH),
    at("no params", TypeError, ("net.init",), create, params=None),
    at("params of integers", TypeError, ("floating",), create, params={"w": jnp.arange(3)}),
    at("params and net exchanged", TypeError, ("cell",), create, cell=PARAMS, params=NET),
]

OPTIMIZERS = [
    at("a rule by name", TypeError, ("'adam'",), optimizer, "adam"),
    at("a rule not called", TypeError, ("Call it: optimizer(adam(",), optimizer, optax.adam),
    at("no rule", TypeError, ("None",), optimizer, None),
    at("a rate below 0", ValueError, ("-0.1",), optimizer, -0.1),
    at("a rate of NaN", ValueError, ("nan",), optimizer, float("nan")),
    at("true as a rate", TypeError, ("True",), optimizer, True),
    at("rates", TypeError, ("float32[3]",), optimizer, jnp.ones(3)),
    at("a schedule of pairs", TypeError, ("one number",), optimizer, lambda n: jnp.ones(2)),
    at("a schedule of two", TypeError, ("step -> rate",), optimizer, lambda a, b: a),
    at(
        "a branch in a schedule",
        TypeError,
        ("jnp.where",),
        optimizer,
        lambda n: 0.1 if n < 3 else 0.01,
    ),
    at("clip -1", ValueError, ("clip=-1",), optimizer, TX, clip=-1),
    at("clip 0", ValueError, ("clip=0",), optimizer, TX, clip=0),
    at("clip NaN", ValueError, ("clip=nan",), optimizer, TX, clip=float("nan")),
    at("clip by word", TypeError, ("'norm'",), optimizer, TX, clip="norm"),
    at("clip not called", TypeError, ("Call it: clip=clip(",), optimizer, TX, clip=optax.clip),
    at("clip true", TypeError, ("True",), optimizer, 0.1, clip=True),
    at("a rate that falls below 0", ValueError, ("rate",), warmup_cosine, -1.0, 10),
    at("no steps", ValueError, ("steps=0",), warmup_cosine, 0.1, 0),
    at("half a step", TypeError, ("steps=0.5",), warmup_cosine, 0.1, 0.5),
    at("a warmup below 0", ValueError, ("warmup=-1",), warmup_cosine, 0.1, 10, -1),
]

REST = [
    at("a drawn half more", ValueError, ("1.5",), sampled, rate=1.5),
    at("drawn below 0", ValueError, ("-0.5",), sampled, rate=jnp.float32(-0.5)),
    at("drawn by NaN", ValueError, ("nan",), sampled, rate=float("nan")),
    at("drawn by word", TypeError, ("probability",), sampled, rate="half"),
    at("a rate for other rows", ValueError, ("(2,)",), sampled, rate=jnp.zeros(3)),
    at("drawn by an integer", TypeError, ("PRNG key",), sampled, key=1),
    at("drawn features", TypeError, ("integer tokens",), sampled, xs=XS),
    at("a drawn list", TypeError, ("xs",), sampled, xs=[1, 2]),
    at("drawn under floats", TypeError, ("mask",), sampled, mask=XS[..., 0]),
    at("drawn under fewer flags", ValueError, ("mask",), sampled, mask=MASK[:2]),
    at(
        "drawn by a net that looks ahead",
        ValueError,
        ("causal",),
        training.scheduled_sampling,
        rnn.Stack((rnn.Embed(3, 2), rnn.Bidirectional(rnn.GRU(2)))),
        WORDS_PARAMS,
        TOKENS,
        0.5,
        KEY,
    ),
    at(
        "drawn with other params",
        ValueError,
        ("params",),
        training.scheduled_sampling,
        WORDS,
        PARAMS,
        TOKENS,
        0.5,
        KEY,
    ),
    at("a state as params", ValueError, ("params",), evaluate, NET, cross_entropy, STATE, BATCH),
    at("a pooled seed", TypeError, ("PRNG key",), POOLED.init, 0, 2),
    at("a pooled number as noise", TypeError, ("key",), POOLED.apply, POOLED_PARAMS, XS, key=0),
    at("pooled params in a dict", ValueError, ("pair", "dict"), POOLED.apply, {"w": 1}, XS),
    at("the body's params alone", ValueError, ("params",), POOLED.apply, POOLED_PARAMS[:1], XS),
    at("pooled params of None", ValueError, ("pair",), POOLED.apply, None, XS),
    at("a pooled list", TypeError, ("xs",), POOLED.apply, POOLED_PARAMS, [1.0]),
    at("no loss", TypeError, ("loss",), POOLED.objective, None),
    at("rows to predict", TypeError, ("Buckets((rows,)",), POOLED.predict, POOLED_PARAMS, ROWS),
    at(
        "a plain column to predict",
        ValueError,
        ("ragged",),
        POOLED.predict,
        POOLED_PARAMS,
        data.Buckets((LABELS, TAGS), 2),
    ),
    *[
        at(
            f"pooled: {name}",
            kind,
            words,
            make_step(POOLED.objective(cross_entropy), TX),
            TrainState.create(None, POOLED_PARAMS, TX, KEY),
            batch,
        )
        for name, batch, kind, words in (
            ("a pair", (XS, LABELS), TypeError, ("tuple", "Batch(xs, targets")),
            ("one column", data.Buckets((ROWS,), 2)(0), ValueError, ("two",)),
            ("a plain input", data.Buckets((LABELS, TAGS), 2)(0), ValueError, ("ragged",)),
            ("a label a step", BATCH, ValueError, ("targets",)),
        )
    ],
]

CUT = partial(training.truncated, NET, cross_entropy, PARAMS)
CUT_STEP = partial(truncated_bptt_step, NET, cross_entropy, TX)
WINDOWS = [
    at("k1 alone", ValueError, ("k1=4 without k2", "k2=4"), CUT_STEP, k1=4),
    at("k1 above k2", ValueError, ("k1=4 above k2=2",), CUT_STEP, k1=4, k2=2),
    at("k2 of none", ValueError, ("k2=0",), CUT, BATCH, k2=0),
    at("k2 by halves", TypeError, ("k2=1.5",), CUT, BATCH, k2=1.5),
    at("a burn-in below 0", ValueError, ("burn_in=-1",), CUT_STEP, burn_in=-1),
    at("true as a burn-in", TypeError, ("burn_in=True",), CUT_STEP, burn_in=True),
    at("a burn-in of all", ValueError, ("burn_in=4 of 4",), CUT, BATCH, k2=2, burn_in=4),
    at("fewer targets cut", ValueError, ("time axis",), CUT, Batch(XS, TOKENS[:2]), k2=2),
    at(
        "a burn-in of a net that looks ahead",
        ValueError,
        ("causal",),
        bptt_step,
        rnn.Bidirectional(rnn.GRU(2)),
        mse,
        TX,
        burn_in=2,
    ),
]

STEADY = partial(training.vanishing_penalty, NET, PARAMS, XS)
PENALTIES = [
    at("tokens as activations", TypeError, ("floating",), training.activation_penalty, TOKENS),
    at("slow under floats", TypeError, ("mask",), training.slowness_penalty, XS, XS[..., 0]),
    at("fewer resets", ValueError, ("resets",), training.slowness_penalty, XS, None, MASK[:2]),
    at("no recurrence", ValueError, ("recurrent",), STEADY, lambda ys: MaskedMean.over(ys)),
    at("a steady array", TypeError, ("MaskedMean",), STEADY, lambda ys: ys.sum()),
    at("a steady loss of two", TypeError, ("loss(ys)",), STEADY, lambda ys, mask: ys),
    at("exact by word", TypeError, ("exact",), STEADY, lambda ys: ys, exact="no"),
    at("a penalty of rows", TypeError, ("penalty.sum()",), MaskedMean(1.0, 1).plus, XS),
]

CALLS = RESULTS + BATCHES + STEPS + OPTIMIZERS + WINDOWS + PENALTIES + REST

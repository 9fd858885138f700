"""Bad calls of `decoding`, `models.generate` and `EncoderDecoder`."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from helpers.bad_calls import Bad
from jaxrnn import decoding, training
from jaxrnn.models import EncoderDecoder, Seq2SeqBatch, generate

KEY = jax.random.key(0)
PROMPT = jnp.zeros((2, 3), jnp.int32)
LOGITS = jnp.zeros(5)
DECODER = rnn.Stack((rnn.Embed(5, 2), rnn.GRU(2), rnn.Dense(5)))
NET = EncoderDecoder(rnn.Stack((rnn.Embed(6, 2), rnn.GRU(3))), DECODER)
PARAMS = NET.init(KEY, rnn.TOKEN, rnn.TOKEN)
SOURCE, XS = jnp.zeros((4, 3), jnp.int32), jnp.zeros((2, 3), jnp.int32)


def model(state, token):
    return state, jnp.broadcast_to(LOGITS, (*token.shape, 5))


def sample(prompt=PROMPT, length=2, key=KEY, step=model, state=(), **how):
    return lambda: decoding.sample(step, state, prompt, length, key, **how)


def greedy(prompt=PROMPT, length=2, step=model, state=(), **how):
    return lambda: decoding.greedy(step, state, prompt, length, **how)


def beam(first=PROMPT[0], length=2, end=0, step=model, state=(), **how):
    return lambda: decoding.beam(step, state, first, length, end=end, **how)


def written(sources=([1, 2],), net=NET, params=PARAMS, length=2, **how):
    return lambda: generate(net, params, sources, length, **{"start": 1, "end": 0, **how})


def apply(source=SOURCE, xs=XS, params=PARAMS, **how):
    return lambda: NET.apply(params, source, xs, **how)


CALLS = [
    # Settings, whatever holds the number
    Bad("a negative temperature", sample(temperature=-1), ValueError, ("temperature=-1",)),
    Bad("of NumPy", sample(temperature=np.float32(-1)), ValueError, ("temperature=-1",)),
    Bad("of JAX", sample(temperature=jnp.float32(-0.5)), ValueError, ("temperature=-0.5",)),
    Bad("of one row", sample(temperature=jnp.array([1, 1, -2])), ValueError, ("=-2",)),
    Bad("NaN", sample(temperature=float("nan")), ValueError, ("temperature=nan",)),
    Bad("a temperature of text", sample(temperature="1"), TypeError, ("temperature='1'",)),
    Bad("a temperature None", sample(temperature=None), TypeError, ("temperature=None",)),
    Bad("temperatures", sample(temperature=jnp.ones(2)), ValueError, ("float32[2]", "(3,)")),
    Bad("top_p=0", sample(top_p=np.float64(0)), ValueError, ("top_p=0", "above 0")),
    Bad("top_p=2", sample(top_p=np.array(2)), ValueError, ("top_p=2",)),
    Bad("top_p=True", sample(top_p=True), TypeError, ("top_p=True",)),
    Bad("top_k=0", sample(top_k=np.int32(0)), ValueError, ("top_k=0", "positive")),
    Bad("top_k=2.0", sample(top_k=2.0), TypeError, ("top_k=2.0",)),
    Bad("top_k above V", sample(top_k=6), ValueError, ("top_k=6", "at most 5")),
    Bad("a traced top_k", lambda: jax.jit(lambda k: sample(top_k=k)())(2), TypeError, ("top_k=",)),
    # Prompts, lengths, keys, ends
    Bad("an empty prompt", greedy(PROMPT[:0]), ValueError, ("int32[0, 3]", "at least one")),
    Bad("one token", greedy(jnp.int32(1)), ValueError, ("int32[]",)),
    Bad(
        "a float prompt",
        sample(PROMPT.astype(float)),
        TypeError,
        ("float32[2, 3]", "integer tokens"),
    ),
    Bad("no tokens", greedy([]), ValueError, ("a prompt",)),
    Bad("length=-1", greedy(length=-1), ValueError, ("length=-1", "zero or more")),
    Bad("length=2.0", sample(length=2.0), TypeError, ("length=2.0",)),
    Bad("length=None", beam(length=None), TypeError, ("length=None",)),
    Bad("a key of 0", sample(key=0), TypeError, ("key=0", "jax.random.key")),
    Bad("no key", sample(key=None), TypeError, ("key=None",)),
    Bad("two keys", sample(key=jax.random.split(KEY)), ValueError, ("key<fry>[2]", "one PRNG key")),
    Bad("an end above V", greedy(end=5), ValueError, ("end=5", "0 to 4", "end=None")),
    Bad("an end below 0", sample(end=np.int64(-1)), ValueError, ("end=-1",)),
    Bad("a float end", greedy(end=0.0), TypeError, ("end=0.0",)),
    Bad("ends", greedy(end=jnp.array([0, 1])), TypeError, ("end=int32[2]",)),
    Bad("end=True", beam(end=True), TypeError, ("end=True",)),
    Bad("lengths of 0", greedy(lengths=[1, 0, 2]), ValueError, ("from 0 to 2", "1 to 2")),
    Bad("lengths above P", greedy(lengths=[1, 3, 2]), ValueError, ("from 1 to 3",)),
    Bad("two lengths", greedy(lengths=[1, 2]), ValueError, ("int32[2]", "(3,)")),
    Bad("float lengths", greedy(lengths=np.ones(3)), TypeError, ("lengths float32[3]",)),
    Bad("a state of no rows", greedy(state=jnp.zeros(2), end=0), ValueError, ("batch axes (3,)",)),
    # Steps
    Bad("no step", greedy(step=None), TypeError, ("NoneType", "Partial")),
    Bad("a net as the step", greedy(step=DECODER), TypeError, ("a Stack as the step",)),
    Bad(
        "a step of logits", greedy(step=lambda s, t: model(s, t)[1]), TypeError, ("from the step",)
    ),
    Bad("a step the wrong way", greedy(step=lambda s, t: model(s, t)[::-1]), TypeError, ("order",)),
    Bad(
        "logits without V",
        sample(step=lambda s, t: (s, t.astype(float))),
        ValueError,
        ("float32[3]",),
    ),
    Bad(
        "tokens", greedy(step=lambda s, t: (s, jnp.ones((3, 5), int))), TypeError, ("int32[3, 5]",)
    ),
    Bad(
        "a state that grows",
        greedy(step=lambda s, t: ((s, s), model(s, t)[1]), state=jnp.zeros(3)),
        ValueError,
        ("a state", "from the step"),
    ),
    Bad(
        "a state of another dtype",
        beam(step=lambda s, t: (s > 0, model(s, t)[1]), state=jnp.zeros(3)),
        ValueError,
        ("bool[3]", "float32[3]"),
    ),
    # Beams
    Bad("no beams", beam(beams=0), ValueError, ("beams=0",)),
    Bad("beams=2.5", beam(beams=2.5), TypeError, ("beams=2.5",)),
    Bad("an infinite penalty", beam(penalty=float("inf")), ValueError, ("penalty=inf",)),
    Bad("penalties", beam(penalty=jnp.ones(3)), ValueError, ("penalty float32[3]",)),
    Bad("a float first", beam(jnp.ones(3)), TypeError, ("first tokens float32[3]",)),
    Bad("beams without an end", beam(end=7), ValueError, ("end=7", "end=None")),
    # generate
    Bad("a decoder", written(net=DECODER), TypeError, ("a Stack", "EncoderDecoder")),
    Bad("one source", written(np.array([1, 2])), TypeError, ("row 0", "single number")),
    Bad("no sources", written(None), TypeError, ("rows as a NoneType",)),
    Bad("an empty source", written([[1], []]), ValueError, ("row 1",)),
    Bad("a source of text", written(["ab"]), TypeError, ("str", "Vocabulary")),
    Bad("generate -1", written(length=-1), ValueError, ("length=-1",)),
    Bad("with batch=0", written(batch=0), ValueError, ("batch=0",)),
    Bad("with buckets=0", written(buckets=0), ValueError, ("buckets=0",)),
    Bad("with beams=0", written(beams=0), ValueError, ("beams=0",)),
    Bad("without a start", written(start=None), TypeError, ("start=None",)),
    Bad("without an end", written(end=None), TypeError, ("end=None",)),
    Bad("an end out of it", written(end=5), ValueError, ("end=5", "0 to 4")),
    Bad("forbidden out of it", written(forbidden=(5,)), ValueError, ("forbidden=5",)),
    Bad("a decoder's params", written(params=PARAMS["decoder"]), ValueError, ("'encoder'",)),
    # EncoderDecoder
    Bad("a class", lambda: EncoderDecoder(rnn.LSTM, DECODER), TypeError, ("as a cell",)),
    Bad("init with 0", lambda: NET.init(0, rnn.TOKEN, rnn.TOKEN), TypeError, ("key=0",)),
    Bad("init without a target", lambda: NET.init(KEY, rnn.TOKEN, None), TypeError, ("None",)),
    Bad("no params", apply(params=None), ValueError, ("NoneType", "net.init")),
    Bad("a list", apply([[1], [2]]), TypeError, ("list",)),
    Bad("float tokens", apply(SOURCE.astype(float)), TypeError, ("integer tokens",)),
    Bad("other rows", apply(xs=XS[:, :2]), ValueError, ("float32[3, 2]",)),
    Bad("a float mask", apply(source_mask=SOURCE.astype(float)), TypeError, ("mask",)),
    Bad("a mask of rows", apply(mask=jnp.ones(3, bool)), ValueError, ("mask",)),
    Bad("no bridge", apply(params=PARAMS | {"bridge": ()}), ValueError, ("params['bridge']",)),
    Bad("a loss of text", lambda: NET.objective("mse"), TypeError, ("a str as the loss",)),
    Bad(
        "a batch of segments",
        lambda: NET.objective(training.cross_entropy)(PARAMS, training.Batch(XS, XS)),
        TypeError,
        ("Batch", "Seq2SeqBatch"),
    ),
    Bad("a list of targets", lambda: Seq2SeqBatch.of(SOURCE, [1, 2]), TypeError, ("list",)),
    Bad("one target", lambda: Seq2SeqBatch.of(SOURCE, XS[:1]), ValueError, ("int32[1, 3]",)),
]

"""Bad calls of `data`, `metrics` and `testing`."""

import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from helpers.bad_calls import Bad
from jaxrnn import data, metrics
from jaxrnn.testing import check_cell

TOKENS = np.arange(40)
SEGMENTS = data.Segments(TOKENS, 2, 5)
BUCKETS = data.Buckets(([np.ones(2), np.ones(3)],), 2)
BYTES, WORDS = data.Bytes(b"ab"), data.Vocabulary(("a", "b"))
RIGHT, LOGITS = jnp.zeros((4, 2), jnp.int32), jnp.zeros((4, 2, 3))
CELL = rnn.LSTM(2)


@functools.cache
def file(content):
    """A file of that content, or without any a folder, empty."""
    folder = pathlib.Path(tempfile.mkdtemp())
    if content is None:
        return folder
    (folder / "text").write_bytes(content)
    return folder / "text"


def distance(*lengths, tokens=RIGHT, targets=RIGHT):
    return metrics.edit_distance(tokens, targets, *lengths)


CALLS = [
    # Streams
    Bad("a stream of text", lambda: data.Segments("abc", 1, 1), TypeError, ("tokens as str",)),
    Bad("a stream of floats", lambda: data.stream([0.5, 1.0]), TypeError, ("float64[2]",)),
    Bad("no stream", lambda: data.stream(None), TypeError, ("object", "integer tokens")),
    Bad("one token", lambda: data.stream([1]), ValueError, ("int64[1]", "two tokens")),
    Bad("a stream with a batch", lambda: data.stream(np.ones((9, 2), int)), ValueError, ("one",)),
    Bad("batch=0", lambda: data.stream(TOKENS, 0), ValueError, ("batch=0", "positive")),
    Bad("batch=2.0", lambda: data.stream(TOKENS, 2.0), TypeError, ("batch=2.0", "integer")),
    Bad("a length of None", lambda: data.Segments(TOKENS, 2, None), TypeError, ("length=None",)),
    Bad("batch=True", lambda: data.Segments(TOKENS, True, 5), TypeError, ("batch=True",)),
    Bad("too long", lambda: data.Segments(TOKENS, 8, 5), ValueError, ("batch * length + 1 = 41",)),
    Bad("keep_last=1", lambda: data.Segments(TOKENS, 2, 5, 1), TypeError, ("keep_last=1",)),
    Bad("segment -1", lambda: SEGMENTS(-1), ValueError, ("step=-1", "zero or more")),
    Bad("segment 0.5", lambda: SEGMENTS(0.5), TypeError, ("step=0.5", "integer")),
    Bad("a traced step", lambda: jax.jit(SEGMENTS)(1), TypeError, ("step=int32[]", "integer")),
    # Buckets
    Bad("batch -1", lambda: BUCKETS(-1), ValueError, ("step=-1",)),
    Bad("batch 1.0", lambda: BUCKETS(np.float32(1)), TypeError, ("step=",)),
    Bad("rows in a list", lambda: data.Buckets([[np.ones(2)]], 2), TypeError, ("tuple",)),
    Bad("rows of text", lambda: data.Buckets((["ab", "c"],), 2), TypeError, ("str", "Vocabulary")),
    Bad("a row None", lambda: data.Buckets(([np.ones(2), None],), 2), TypeError, ("row 1", "None")),
    Bad(
        "rows of rows",
        lambda: data.Buckets(([[[1, 2], [3]]],), 2),
        TypeError,
        ("row 0 of column 0 as a list",),
    ),
    Bad(
        "rows of objects",
        lambda: data.Buckets(([np.array([1, None])],), 2),
        TypeError,
        ("row 0 of column 0",),
    ),
    Bad("a number as a row", lambda: data.Buckets(([[1], 2],), 2), TypeError, ("row 1", "single")),
    Bad(
        "labels of text",
        lambda: data.Buckets(([np.ones(2)], np.array(["yes"])), 2),
        TypeError,
        ("column 1", "numbers"),
    ),
    Bad("seed=-1", lambda: data.Buckets(([np.ones(2)],), 2, seed=-1), ValueError, ("seed=-1",)),
    Bad("seed=None", lambda: data.Buckets(([np.ones(2)],), 2, seed=None), TypeError, ("seed",)),
    Bad("columns as a dict", lambda: data.Buckets({"a": [np.ones(2)]}, 2), TypeError, ("dict",)),
    Bad("pad nothing", lambda: data.pad([]), ValueError, ("no rows",)),
    Bad("pad a text", lambda: data.pad("abc"), TypeError, ("rows as a str",)),
    Bad("pad too short", lambda: data.pad([[1, 2, 3]], 2), ValueError, ("3 steps", "steps=2")),
    Bad("pad to NaN", lambda: data.pad([[1]], float("nan")), TypeError, ("steps=nan",)),
    Bad("pad to -1", lambda: data.pad([[1]], -1), ValueError, ("steps=-1",)),
    Bad(
        "pad other features",
        lambda: data.pad([np.ones((2, 3)), np.ones((2, 4))]),
        ValueError,
        ("float64[2, 4]", "same features"),
    ),
    # Text and files
    Bad("text as bytes", lambda: BYTES.encode("ab"), TypeError, ("a str", ".encode()")),
    Bad("a vocabulary of text", lambda: data.Bytes.of("ab"), TypeError, ("a str",)),
    Bad("a negative byte", lambda: BYTES.decode([-1]), ValueError, ("-1", "0 to 2")),
    Bad("a token too high", lambda: WORDS.decode([4, 6]), ValueError, ("6", "0 to 5")),
    Bad("a batch of tokens", lambda: WORDS.decode([[4], [5]]), ValueError, ("one sequence",)),
    Bad("float tokens", lambda: WORDS.decode([4.0]), TypeError, ("float64[1]",)),
    Bad("a list of units", lambda: data.Vocabulary(["a"]), TypeError, ("list", "tuple")),
    Bad("a unit twice", lambda: data.Vocabulary(("a", "a")), ValueError, ("twice",)),
    Bad("units of numbers", lambda: data.Vocabulary.of([[1, 2]]), TypeError, ("1 as a unit",)),
    Bad("units of None", lambda: data.Vocabulary.of([None]), TypeError, ("NoneType",)),
    Bad("most=-1", lambda: data.Vocabulary.of(["ab"], most=-1), ValueError, ("most=-1",)),
    Bad("encode None", lambda: WORDS.encode(None), TypeError, ("NoneType",)),
    Bad(
        "no such file",
        lambda: data.read_text("no/such/file"),
        FileNotFoundError,
        ("no/such/file", "No such file"),
    ),
    Bad("no such folder", lambda: data.read_bytes("no/such"), FileNotFoundError, ("no/such",)),
    Bad("a folder", lambda: data.read_lines(file(None)), IsADirectoryError, ("a folder",)),
    Bad("an empty folder", lambda: data.read_bytes(file(None)), ValueError, ("no bytes",)),
    Bad("an empty file", lambda: data.read_text(file(b" \n")), ValueError, ("an empty file",)),
    Bad("a binary", lambda: data.read_text(file(b"a\nb\0")), ValueError, ("0x00 in line 2",)),
    Bad("limit=0", lambda: data.read_bytes(file(b"a"), 0), ValueError, ("limit=0",)),
    # Metrics
    Bad("logits in a list", lambda: metrics.accuracy([[1.0]], RIGHT), TypeError, ("list",)),
    Bad("float targets", lambda: metrics.accuracy(LOGITS, LOGITS[..., 0]), TypeError, ("float32",)),
    Bad(
        "tokens [T, B, 1]",
        lambda: metrics.accuracy(RIGHT[..., None], RIGHT),
        ValueError,
        ("2, 1)",),
    ),
    Bad("targets [T, 1]", lambda: metrics.accuracy(LOGITS, RIGHT[:, :1]), ValueError, ("4, 1",)),
    Bad("flags", lambda: metrics.accuracy(RIGHT > 0, RIGHT), TypeError, ("bool[4, 2]",)),
    Bad(
        "a float mask", lambda: metrics.accuracy(RIGHT, RIGHT, LOGITS[..., 0]), TypeError, ("mask",)
    ),
    Bad("an integer mask", lambda: metrics.confusion(LOGITS, RIGHT, RIGHT), TypeError, ("mask",)),
    Bad(
        "a mask of rows",
        lambda: metrics.confusion(LOGITS, RIGHT, jnp.ones(2, bool)),
        ValueError,
        ("a mask bool[2]",),
    ),
    Bad("other classes", lambda: metrics.confusion(LOGITS, RIGHT, classes=2), ValueError, ("3",)),
    Bad(
        "classes=0", lambda: metrics.confusion(RIGHT, RIGHT, classes=0), ValueError, ("classes=0",)
    ),
    Bad("no classes", lambda: metrics.confusion(RIGHT, RIGHT), ValueError, ("classes",)),
    Bad("lengths above T", lambda: distance(jnp.array([5, 1])), ValueError, ("1 to 5", "0 to 4")),
    Bad(
        "lengths below 0", lambda: distance(None, [-1, 1]), ValueError, ("target_lengths from -1",)
    ),
    Bad("float lengths", lambda: distance(jnp.ones(2)), TypeError, ("lengths float32[2]",)),
    Bad("one length", lambda: distance(3), ValueError, ("int64[]", "(2,)")),
    Bad("lengths [B, 1]", lambda: distance(jnp.ones((2, 1), int)), ValueError, ("[2, 1]",)),
    Bad("other rows", lambda: distance(targets=RIGHT[:, :1]), ValueError, ("int32[4, 1]",)),
    Bad("edits of logits", lambda: distance(tokens=LOGITS), TypeError, ("tokens float32",)),
    Bad("edits of text", lambda: metrics.edit_distance("a", "b"), TypeError, ("tokens as a str",)),
    Bad("a sentence", lambda: metrics.word_error_rate("a b", ["a b"]), TypeError, ("a string",)),
    Bad("words", lambda: metrics.word_error_rate([["a"]], ["a"]), TypeError, ("pair 0", "list")),
    Bad("no sentences", lambda: metrics.word_error_rate([], []), ValueError, ("at least one",)),
    Bad(
        "only empty", lambda: metrics.word_error_rate(["a"], [""]), ValueError, ("without a word",)
    ),
    Bad("fewer references", lambda: metrics.bleu(["a", "b"], ["a"]), ValueError, ("2 hypotheses",)),
    Bad("no reference", lambda: metrics.bleu(["a"], [[]]), ValueError, ("without a reference",)),
    Bad("a reference None", lambda: metrics.bleu(["a"], [None]), TypeError, ("NoneType",)),
    # check_cell
    Bad("a class", lambda: check_cell(rnn.LSTM, 2), TypeError, ("the class itself",)),
    Bad("laws=7", lambda: check_cell(CELL, 2, laws=7), TypeError, ("laws=7", "(1, 7)")),
    Bad("law 8", lambda: check_cell(CELL, 2, laws=(7, 8)), ValueError, ("[8]",)),
    Bad("no law", lambda: check_cell(CELL, 2, laws=()), ValueError, ("of no number",)),
    Bad("a key of 0", lambda: check_cell(CELL, 2, key=0), TypeError, ("key=0", "jax.random.key")),
    Bad(
        "a strategy's class",
        lambda: check_cell(CELL, 2, strategies=(rnn.Scan,)),
        TypeError,
        ("instances",),
    ),
    Bad("one strategy", lambda: check_cell(CELL, 2, strategies=rnn.Scan()), TypeError, ("Scan",)),
    Bad("one dtype", lambda: check_cell(CELL, 2, dtypes=jnp.float32), TypeError, ("dtypes=",)),
    Bad("integers", lambda: check_cell(CELL, 2, dtypes=("int32",)), ValueError, ("int32",)),
    Bad("no dtype", lambda: check_cell(CELL, 2, dtypes=("float31",)), TypeError, ("float31",)),
    Bad("an input of None", lambda: check_cell(CELL, None), TypeError, ("None",)),
    Bad("a size of 0", lambda: check_cell(CELL, 0), ValueError, ("0", "positive")),
]

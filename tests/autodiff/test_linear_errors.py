"""What `linear_scan` refuses: what was got, what is needed, what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from jaxrnn import Complex, Matrix, linear_scan

A, B, START = jnp.full(3, 0.5), jnp.ones((5, 2, 3)), jnp.zeros((2, 3))


def refused(kind, *needles):
    pattern = "(?s)linear_scan.*" + "".join(f"(?=.*{n})" for n in ("got", "need", *needles))
    return pytest.raises(kind, match=pattern)


@pytest.mark.parametrize(
    ("given", "needles"),
    [
        (([0.5], B, START), (r"a\[0\] as a float", "asarray")),
        ((A, B, 0.0), ("start as a float", "asarray")),
        ((A, B.astype(int), START), (r"b int32\[5, 2, 3\]", "floating", "astype")),
        ((A > 0, B, START), (r"a bool\[3\]", "floating", "astype")),
        ((A, B, START.astype(jnp.bfloat16)), ("b float32", "bfloat16", "start to float32")),
        ((A.astype(complex), B, START), (r"a complex64\[3\]", "float32", "Cast")),
    ],
)
def test_wrong_kinds_of_number(given, needles):
    with refused(TypeError, *needles):
        linear_scan(*given)
    with refused(TypeError, *needles[:1]):
        jax.jit(lambda: linear_scan(*given))()  # while it is traced, too


@pytest.mark.parametrize(
    ("given", "needles"),
    [
        (((), (), ()), ("without arrays",)),
        ((A, B, (START,)), ("one structure", r"float32\[2, 3\]")),
        (((A, A), (B,), (START,)), ("place of each part",)),
        (([A], (B,), (START,)), ("place of each part",)),
        ((Complex(A, A), B, START), ("a as a Complex", r"float32\[2, 3\]", "for a Complex")),
        ((A, Complex(B, B), Complex(START, START)), ("for a Complex",)),
        ((A, B, START[0]), (r"start float32\[3\]", "trailing axes", "broadcast start")),
        ((A, B[0, 0, 0], START), (r"b float32\[\]", "Time is axis 0")),
        (([A, A], [B, B[:4]], [START, START]), (r"b\[1\].*after 5 steps", "as many steps")),
        ((jnp.ones(2), B, START), (r"a float32\[2\]", r"\[T, 2, 3\]", "T=5")),
        ((jnp.ones((4, 2, 3)), B, START), (r"a float32\[4, 2, 3\]", "T=5")),
        ((jnp.ones((1, 5, 2, 3)), B, START), (r"a float32\[1, 5, 2, 3\]", "T=5")),
        ((Matrix(jnp.ones((3, 2))), B, START), (r"a float32\[3, 2\]", r"\[2, 3, 3\]")),
        ((Matrix(jnp.ones((1, 1))), B, START), (r"a float32\[1, 1\]", r"\[2, 3, 3\]")),
        ((Matrix(jnp.ones((1, 1))), B[:, 0, 0], START[0, 0]), (r"float32\[1, 1\]",)),
    ],
)
def test_wrong_structures_and_shapes(given, needles):
    with refused(ValueError, *needles):
        linear_scan(*given)


@pytest.mark.parametrize("name", ["mask", "resets"])
def test_flags_of_the_wrong_shape_or_dtype(name):
    for wrong in ((2, 5), (5, 3), (4, 2), (5, 2, 3, 1), ()):
        with refused(ValueError, rf"{name} bool\[{', '.join(map(str, wrong))}\]", "Transpose"):
            linear_scan(A, B, START, **{name: jnp.ones(wrong, bool)})
    with refused(TypeError, rf"{name} float32\[5, 2\]", "boolean", "astype"):
        linear_scan(A, B, START, **{name: jnp.ones((5, 2))})
    with refused(TypeError, f"{name} as a list", "asarray"):
        linear_scan(A, B, START, **{name: [True] * 5})


@pytest.mark.parametrize(
    ("kind", "option", "need"),
    [
        (TypeError, {"radix": 2.0}, "2 or more steps"),
        (TypeError, {"radix": True}, "2 or more steps"),
        (ValueError, {"radix": 1}, "2 or more steps"),
        (ValueError, {"radix": -2}, "2 or more steps"),
        (TypeError, {"unroll": 1.0}, "positive integer"),
        (ValueError, {"unroll": 0}, "positive integer"),
        (TypeError, {"reverse": 1}, "True or False"),
    ],
)
def test_options_that_are_none(kind, option, need):
    with refused(kind, *option, need):
        linear_scan(A, B, START, **option)


def test_what_fits_is_taken():
    """NumPy's arrays, narrower numbers, flags of fewer axes, transitions that are broadcast."""
    want = linear_scan(jnp.full((5, 2, 3), 0.5), B, START)
    for a in (np.full(3, 0.5, np.float32), jnp.full((), 0.5), jnp.full((5, 1, 3), 0.5)):
        for radix in (None, 2):
            got = linear_scan(a, np.asarray(B), START, mask=jnp.ones(5, bool), radix=radix)
            jax.tree.map(np.testing.assert_array_equal, got, want)
    flags = {"mask": jnp.ones((5, 2), bool), "resets": jnp.zeros(5, bool)}
    for f in (flags, {"mask": ~flags["resets"], "resets": ~flags["mask"]}):
        jax.tree.map(np.testing.assert_array_equal, linear_scan(A, B, START, radix=2, **f), want)
    last, states = linear_scan(A, B[:0], START)
    assert states.shape == (0, 2, 3)
    assert (last == START).all()


def test_strategies_check_their_radix():
    for strategy in (rnn.Associative, rnn.Newton):
        with pytest.raises(TypeError, match=r"radix=2\.0"):
            strategy(radix=2.0)
        with pytest.raises(ValueError, match="radix=1"):
            strategy(radix=1)

"""Bad calls of the diagnostics."""

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from helpers.bad_calls import Bad, at
from jaxrnn import diagnostics as d

CELL = rnn.Elman(2)
PARAMS = CELL.init(jax.random.key(0), 1)
XS = jnp.ones((4, 1))
BOTH = rnn.Bidirectional(CELL)
RUN = (CELL, PARAMS, XS)
POINTS = (CELL, PARAMS, XS[0])
DENSE = rnn.Dense(1)
FLAT = DENSE, DENSE.init(jax.random.key(0), 1), XS
THREE = jnp.ones((3, 2))


def summed(ys):
    return ys.sum(-1)


def of_traced():
    return jax.jit(lambda xs: d.first_non_finite(CELL, PARAMS, xs))(XS)


CALLS = [
    at("a loss's value", TypeError, ("loss=", "lambda ys"), d.gradient_norms, *RUN, jnp.ones(4)),
    at("a loss of all", ValueError, ("float32[]", "(4,)"), d.gradient_norms, *RUN, jnp.sum),
    at("no loss at all", TypeError, ("NoneType",), d.gradient_norms, *RUN, lambda ys: None),
    at("whole losses", TypeError, ("floats",), d.gradient_matrix, *RUN, lambda ys: ys.argmax(-1)),
    at("a late step", ValueError, ("at=4", "from -4 to 3"), d.gradient_norms, *RUN, summed, at=4),
    at("half a step", TypeError, ("at=0.5",), d.gradient_norms, *RUN, summed, at=0.5),
    at("rows", TypeError, ("xs",), d.gradient_matrix, CELL, PARAMS, [1.0], summed),
    at("one step", ValueError, ("2 axes",), d.gradient_norms, CELL, PARAMS, XS[0], summed, at=0),
    at("a class", TypeError, ("the class itself",), d.gradient_norms, rnn.LSTM, PARAMS, XS, summed),
    at("a long lag", ValueError, ("lag=3", "2 of them"), d.singular_values, *RUN, lag=3, at=1),
    at("no lag", ValueError, ("lag=0",), d.jacobian, *RUN, lag=0),
    at("the last step", ValueError, ("lag=1", "earlier"), d.jacobian, *RUN, at=-1),
    at("many values", ValueError, ("count=3", "at most 2"), d.singular_values, *RUN, count=3),
    at("a count in words", TypeError, ("count='all'",), d.singular_values, *RUN, count="all"),
    at("both ways", ValueError, ("looks ahead",), d.jacobian, BOTH, (PARAMS, PARAMS), XS),
    at("no state", ValueError, ("without a state",), d.jacobian, *FLAT),
    at("many exponents", ValueError, ("count=3",), d.lyapunov_exponents, *RUN, 3),
    at("all skipped", ValueError, ("skip=4 of 4",), d.lyapunov_exponents, *RUN, 1, skip=4),
    at("no map", TypeError, ("f=3",), d.lyapunov_exponents_of, 3, XS[0], 5, 1),
    at("a map of ints", TypeError, ("float",), d.lyapunov_exponents_of, abs, jnp.arange(2), 5, 1),
    at("another space", ValueError, ("float32[]",), d.lyapunov_exponents_of, jnp.sum, XS, 5, 1),
    at("all of it", ValueError, ("fraction=1",), d.effective_memory, *RUN, summed, fraction=1),
    at("memory of no step", TypeError, ("at=None",), d.effective_memory, *RUN, summed, at=None),
    at("no record", TypeError, ("float32[4, 1]", "record"), d.saturation, XS),
    at("no bins", ValueError, ("bins=0",), d.saturation, d.Record(XS, None, XS), bins=0),
    at("all of it near", ValueError, ("near=0.5",), d.saturation, XS, near=0.5),
    Bad("values while tracing", of_traced, TypeError, ("outside jit",)),
    at("a loss that is none", TypeError, ("loss=3",), d.first_non_finite, *RUN, 3),
    at("an input of rows", ValueError, ("one row",), d.fixed_points, CELL, PARAMS, XS, XS),
    at("candidates alone", ValueError, ("leading axes",), d.fixed_points, *POINTS, jnp.ones(2)),
    at("other candidates", ValueError, ("float32[4, 1]",), d.fixed_points, *POINTS, XS),
    at("no candidates", ValueError, ("and some",), d.fixed_points, *POINTS, jnp.ones((0, 2))),
    at("a pair", ValueError, ("leading axes",), d.fixed_points, *POINTS, (THREE,)),
    at("no limit", ValueError, ("slow=0",), d.fixed_points, *POINTS, THREE, slow=0),
    at("nothing drawn", ValueError, ("without arrays",), d.plot_gradient_norms, ((), None)),
    at("words drawn", TypeError, ("numbers",), d.plot_gradient_norms, "norms"),
    at("a number drawn", ValueError, ("axes",), d.plot_gradient_matrix, jnp.ones(3)),
    at("no points drawn", TypeError, ("FixedPoints",), d.plot_fixed_points, XS),
    at("all finite drawn", TypeError, ("NonFinite",), d.plot_first_non_finite, None),
    at("no gates drawn", TypeError, ("Saturation",), d.plot_saturation, XS),
]  # fmt: skip

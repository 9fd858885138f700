"""Bad calls of learning step by step."""

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from helpers.bad_calls import at
from jaxrnn import online
from jaxrnn.training import mse


class Counting(rnn.Elman):
    """A state of integers."""

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden), jnp.int32)


NET = rnn.Elman(2)
KEY = jax.random.key(0)
PARAMS = NET.init(KEY, 2)
OTHER = rnn.Elman(3).init(KEY, 2)
LEARNING = online.RTRL(NET, mse)
WINDOW = online.TBPTT(NET, mse, 3)
UORO = online.UORO(NET, mse)
FORWARD = online.ForwardGradient(NET, mse)
LEARNER = LEARNING.init(PARAMS, (4,))
KEPT = WINDOW.init(PARAMS, (4,))
X = jnp.ones((4, 2))
ALONE = rnn.Stack((rnn.Dropout(0.1), rnn.Apply(jnp.abs)))
SEEN = rnn.Stack((rnn.Elman(2), rnn.Attention(3, 2)))

MADE = [
    at("a class as a net", TypeError, ("class itself",), online.RTRL, rnn.LSTM, mse),
    at("net and loss exchanged", TypeError, ("cell",), online.SnAp1, mse, NET),
    at("a loss by name", TypeError, ("loss(ys",), online.RTRL, NET, "mse"),
    at("a loss of a step", TypeError, ("mask",), online.EProp, NET, lambda y, target: y),
    at("a net that looks ahead", ValueError, ("causal",), online.RTRL, rnn.Bidirectional(NET), mse),
    at("a net with a memory", ValueError, ("memory", "make_step"), online.UORO, SEEN, mse),
    at("no window", TypeError, ("TBPTT",), online.TBPTT, NET, mse),
    at("a window of none", ValueError, ("k2=0",), online.TBPTT, NET, mse, 0),
    at("half a window", TypeError, ("steps=2.5",), online.BPTT, NET, mse, 2.5),
    at("never a direction", ValueError, ("every=0",), online.ForwardGradient, NET, mse, 0),
]

BEGUN = [
    at("no params", TypeError, ("net.init",), LEARNING.init, None),
    at("params of another net", ValueError, ("params",), LEARNING.init, {"w": jnp.ones(3)}),
    at("a number of rows", TypeError, ("(4,)",), LEARNING.init, PARAMS, 4),
    at("UORO without a key", TypeError, ("jax.random.key(0)",), UORO.init, PARAMS, (4,)),
    at("a direction without a key", TypeError, ("directions",), FORWARD.init, PARAMS, (4,)),
    at("counts as a state", TypeError, ("int32[2]",), online.RTRL(Counting(2), mse).init, PARAMS),
    at("a seed", TypeError, ("PRNG key",), UORO.init, PARAMS, (4,), 0),
    at("inputs by name", TypeError, ("features",), LEARNING.init, PARAMS, (4,), x="features"),
    at(
        "inputs that no param shows",
        ValueError,
        ("x=features(4)",),
        online.RTRL(ALONE, mse).init,
        ALONE.init(KEY, 2),
    ),
]

STEPS = [
    at("params as a learner", TypeError, ("Influence",), LEARNING.step, PARAMS, PARAMS, X, X),
    at("another's learner", TypeError, ("Window",), WINDOW.step, PARAMS, LEARNER, X, X),
    at(
        "a learner of other inputs",
        ValueError,
        ("influence", "x=x"),
        LEARNING.step,
        NET.init(KEY, 3),
        LEARNER,
        jnp.ones((4, 3)),
        X,
    ),
    at("a learner of fewer rows", ValueError, ("state",), LEARNING.step, PARAMS, LEARNER, X[:3], X),
    at("another net's params", ValueError, ("params",), LEARNING.step, OTHER, LEARNER, X, X),
    at("tokens", TypeError, ("floating",), LEARNING.step, PARAMS, LEARNER, X.astype(int), X),
    at("a sequence", ValueError, ("state",), LEARNING.step, PARAMS, LEARNER, X[None], X),
    at("a list", TypeError, ("x",), LEARNING.step, PARAMS, LEARNER, [1.0, 2.0], X),
    at("half inputs", ValueError, ("xs",), WINDOW.step, PARAMS, KEPT, X.astype(jnp.float16), X),
    at("other targets", ValueError, ("targets",), LEARNING.step, PARAMS, LEARNER, X, X[:, :1]),
    at("a float mask", TypeError, ("mask",), LEARNING.step, PARAMS, LEARNER, X, X, mask=X[:, 0]),
    at(
        "a reset of one",
        ValueError,
        ("reset",),
        LEARNING.step,
        PARAMS,
        LEARNER,
        X,
        X,
        reset=jnp.array(True),
    ),
    at(
        "a loss of a number",
        TypeError,
        ("MaskedMean",),
        online.RTRL(NET, lambda ys, targets, mask: ys.sum()).step,
        PARAMS,
        LEARNER,
        X,
        X,
    ),
]

CALLS = MADE + BEGUN + STEPS

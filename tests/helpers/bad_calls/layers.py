"""Bad constructions of layers, combinators, strategies and tasks."""

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from helpers.bad_calls import Bad

KEY = jax.random.key(0)
CELL = rnn.LSTM(4)
DENSE = rnn.Dense(4).init(KEY, 3)
XS = jnp.ones((5, 3))
NAN, INF = float("nan"), float("inf")
TASKS = rnn.tasks
BOTH = rnn.Bidirectional


def made(kind, *args, **kwargs):
    return lambda: kind(*args, **kwargs)


def begun(layer, x=3):
    return lambda: layer.init(KEY, x)


def activated(f):
    return lambda: rnn.unroll(rnn.Dense(4, f), DENSE, XS)


CALLS = [
    # fields
    Bad("no size", made(rnn.LSTM), TypeError, ("'hidden'", "LSTM(hidden, ")),
    Bad("units", made(rnn.Dense, units=3), TypeError, ("units", "Dense(width, activation=")),
    Bad("a string size", made(rnn.Dense, "3"), TypeError, ("width='3'", "integer")),
    Bad("a float size", made(rnn.Dense, 3.0), TypeError, ("width=3.0", "integer")),
    Bad("a bool size", made(rnn.Dense, True), TypeError, ("width=True", "integer")),
    Bad("a shape", made(rnn.Dense, (3,)), TypeError, ("width=(3,)", "integer")),
    Bad("a negative size", made(rnn.Dense, -1), ValueError, ("width=-1", "positive integer")),
    Bad("no activation", made(rnn.Dense, 3, None), TypeError, ("activation=None", '"identity"')),
    Bad("a second size", made(rnn.Dense, 3, 4), TypeError, ("activation=4", '"relu"')),
    Bad("another name", made(rnn.Dense, 3, "ReLU"), ValueError, ("'ReLU'", "relu")),
    Bad("glu", made(rnn.Dense, 4, "glu"), ValueError, ("'glu'", "elementwise", "Apply(f)")),
    Bad("softmax", made(rnn.Dense, 4, "softmax"), ValueError, ("activation=jax.nn.softmax",)),
    Bad("one_hot", made(rnn.Dense, 4, "one_hot"), ValueError, ("'one_hot'", "elementwise")),
    Bad("a list", made(rnn.Dense, 4, ["relu"]), TypeError, ("['relu']", "a function")),
    Bad("a module class", made(rnn.Dense, 4, rnn.Elman), TypeError, ("Elman", "a function")),
    Bad("halved", activated(jax.nn.glu), ValueError, ("float32[5, 2] from float32[5, 4]", "Apply")),
    Bad("a threshold", activated(lambda x: x > 0), TypeError, ("bool[5, 4]", "astype")),
    Bad("nothing returned", activated(lambda x: None), ValueError, ("NoneType", "float32[5, 4]")),
    # layers
    Bad("no function", made(rnn.Apply, None), TypeError, ("f=None", "a function")),
    Bad("a name", made(rnn.Apply, "relu"), TypeError, ("f='relu'", "a function")),
    Bad("a layer", made(rnn.Apply, rnn.Dense(3)), TypeError, ("Dense(width=3", "a function")),
    Bad("a class", made(rnn.Apply, rnn.Dense), TypeError, ("Dense", "a function")),
    Bad("no axis left", begun(rnn.Apply(jnp.argmax)), ValueError, ("int32[]", "keepdims=True")),
    Bad("a pair", begun(rnn.Apply(lambda x: (x, x))), TypeError, ("tuple", "one array")),
    Bad("Apply to tokens", begun(rnn.Apply(jnp.tanh), rnn.TOKEN), TypeError, ("int32[]", "Embed")),
    Bad("OneHot of vectors", begun(rnn.OneHot(5)), TypeError, ("float32[3]", "integer tokens")),
    Bad("no vocabulary", made(rnn.OneHot, 0), ValueError, ("vocabulary=0", "positive")),
    Bad("no width", made(rnn.Embed, 5), TypeError, ("'width'", "Embed(vocabulary, width")),
    Bad("all dropped", made(rnn.Dropout, 1.0), ValueError, ("rate=1.0", "up to, but not, 1")),
    Bad("percent", made(rnn.Dropout, 50), ValueError, ("rate=50", "0 up to")),
    Bad("a NaN rate", made(rnn.Dropout, NAN), ValueError, ("rate=nan", "0 up to")),
    Bad("an array", made(rnn.Dropout, jnp.float32(0.1)), TypeError, ("static", "rate=0.1")),
    Bad("per row", made(rnn.Dropout, 0.1, "row"), ValueError, ("per='row'", "'sequence'")),
    Bad("a norm's size", made(rnn.LayerNorm, 8), TypeError, ("eps=8", "as wide as its inputs")),
    Bad("an infinite eps", made(rnn.RMSNorm, INF), ValueError, ("eps=inf", "positive float")),
    Bad("no kernel", made(rnn.CausalConv, 3, 0), ValueError, ("kernel=0", "positive")),
    Bad("a kernel tuple", made(rnn.CausalConv, 3, (2,)), TypeError, ("kernel=(2,)", "integer")),
    Bad("depthwise no", made(rnn.CausalConv, 3, 2, "no"), TypeError, ("'no'", "True or False")),
    Bad("depthwise 1", made(rnn.CausalConv, 3, 2, 1), TypeError, ("depthwise=1", "True or False")),
    Bad("bias yes", made(rnn.TiedEmbedding, 5, 4, CELL, "yes"), TypeError, ("'yes'", "True")),
    Bad("a body", made(rnn.TiedEmbedding, 5, 4, rnn.LSTM), TypeError, ("LSTM'>", "an instance")),
    Bad("no features", begun(CELL, rnn.features(0)), ValueError, ("float32[0]", "one feature")),
    Bad("none left", begun(rnn.CausalConv(3, 2), rnn.features(0)), ValueError, ("float32[0]",)),
    # combinators
    Bad("a list of cells", made(rnn.Stack, [CELL]), TypeError, ("[LSTM", "tuple", "Stack((")),
    Bad("two arguments", made(rnn.Stack, CELL, CELL), TypeError, ("too many", "one tuple")),
    Bad("no cells", made(rnn.Stack, ()), TypeError, ("()", "at least one")),
    Bad("classes", made(rnn.Stack, (rnn.LSTM, rnn.Dense)), TypeError, ("LSTM'>", "an instance")),
    Bad("a function", made(rnn.Stack, (CELL, jnp.tanh)), TypeError, ("tanh", "Apply(f)")),
    Bad("a bare function", made(rnn.Residual, jnp.tanh), TypeError, ("tanh", "Apply(f)")),
    Bad("cells for one", made(rnn.Residual, [CELL]), TypeError, ("[LSTM", "Stack((")),
    Bad("another merge", made(BOTH, CELL, merge="add"), ValueError, ("'add'", "'sum'")),
    Bad("no merge", made(BOTH, CELL, merge=None), ValueError, ("None", "'none'")),
    Bad("no backward", made(BOTH, CELL, 0), TypeError, ("0 as a cell", "a layer")),
    Bad("a merge in its place", made(BOTH, CELL, "sum"), TypeError, ("'sum' as a",)),
    Bad("another score", made(rnn.Attention, 8, 6, "dot"), ValueError, ("'dot'", "'additive'")),
    Bad("a memory", made(rnn.Attention, 8, jnp.ones((7, 6))), TypeError, ("memory=", "integer")),
    Bad("rates", made(rnn.Zoneout, CELL, (0.1, NAN)), ValueError, ("rate=nan", "0 up to")),
    Bad("a list of rates", made(rnn.Zoneout, CELL, [0.1, 0.2]), TypeError, ("list", "a float")),
    Bad("no rates", begun(rnn.Zoneout(CELL, ())), ValueError, ("0 rates", "tuple of 2")),
    Bad("zoned net", made(rnn.Zoneout, rnn.Stack((CELL,)), 0.1), TypeError, ("Stack((Zone",)),
    Bad("a class of it", made(rnn.TransformedWeights, CELL, rnn.Dale), TypeError, ("Dale'>",)),
    Bad("a share", made(rnn.Dale, 1.5), ValueError, ("excitatory=1.5", "from 0 to 1")),
    Bad("one name", made(rnn.Dale, 0.8, "w_h"), TypeError, ("names='w_h'", '("w_h",)')),
    Bad("an infinite norm", made(rnn.SpectralNorm, INF), ValueError, ("bound=inf", "finite")),
    # strategies
    Bad("chunks of none", made(rnn.Chunked, 0), ValueError, ("size=0", "sqrt(T)")),
    Bad("waves of none", made(rnn.Wavefront, 0), ValueError, ("size=0", "quarter of T")),
    Bad("waves of chunks", made(rnn.Wavefront, 8, rnn.Chunked(2)), TypeError, ("inner=Chunked",)),
    Bad("half steps", made(rnn.Chunked, 2.5), TypeError, ("size=2.5", "integer")),
    Bad("remat yes", made(rnn.Chunked, 8, "yes"), TypeError, ("remat='yes'", "True or False")),
    Bad("inner in its place", made(rnn.Chunked, 8, rnn.Scan()), TypeError, ("remat=Scan", "True")),
    Bad("no levels", made(rnn.Chunked, levels=0), ValueError, ("levels=0", "forward pass")),
    Bad("levels kept", made(rnn.Chunked, 8, False, levels=2), ValueError, ("remat=False", "True")),
    Bad("a list of sizes", made(rnn.Chunked, (216, 216)), TypeError, ("size=(216", "an integer")),
    Bad("sizes of nothing", lambda: rnn.Chunked().sizes(0), ValueError, ("steps=0", "inputs")),
    Bad("unroll all", made(rnn.Scan, unroll=True), TypeError, ("unroll=True", "integer")),
    Bad("iterations", made(rnn.Newton, iterations=0), TypeError, ("iterations", "max_iters=50")),
    Bad("no iterations", made(rnn.Newton, 0), ValueError, ("max_iters=0", "less than ten")),
    Bad("a NaN tolerance", made(rnn.Newton, tol=NAN), ValueError, ("tol=nan", "finite")),
    Bad("a word for it", made(rnn.Newton, tol="small"), TypeError, ("tol as a str", "a float")),
    Bad("a Jacobian", made(rnn.Newton, jacobian="diag"), ValueError, ("'diag'", "'diagonal'")),
    Bad("a fallback", made(rnn.Associative, fallback=3), TypeError, ("fallback=3", "a strategy")),
    Bad("a radix", made(rnn.Associative, 1), ValueError, ("radix=1", "2 or more")),
    # tasks
    Bad("a seed", made(TASKS.parity, 0), TypeError, ("key=0", "jax.random.key(0)")),
    Bad("no length", made(TASKS.adding, KEY, 0), ValueError, ("length=0", "positive")),
    Bad("half a step", made(TASKS.copy, KEY, 2.5), TypeError, ("lag=2.5", "integer")),
    Bad("no lag", made(TASKS.copy_baseline, -1), ValueError, ("lag=-1", "positive")),
    Bad("an odd word", made(TASKS.dyck, KEY, 5), ValueError, ("length=5", "even")),
    Bad("floats", made(TASKS.dyck_allowed, jnp.ones(3)), TypeError, ("float32[3]", "integer")),
    Bad("kinds", made(TASKS.dyck_allowed, jnp.array([7]), 1), ValueError, ("to 7", "kinds=1")),
    Bad("share", made(TASKS.listops, KEY, share=NAN), ValueError, ("share=nan", "0 up to")),
    Bad(
        "no loss",
        made(TASKS.scored, "mse"),
        TypeError,
        ("str as the loss",),
    ),
    Bad("a batch", made(TASKS.batches, "parity", KEY), TypeError, ("str", "tasks.parity")),
    Bad("a setting", made(TASKS.batches, TASKS.parity, KEY, size=3), TypeError, ("size", "length")),
    Bad("a step", lambda: TASKS.batches(TASKS.parity, KEY)("3"), TypeError, ("step='3'",)),
]

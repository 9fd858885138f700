"""Checks on eight virtual CPU devices, a program of its own: JAX counts its devices as it starts.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python devices.py GROUP [whole]

prints a JSON object: what each check of the group found wrong, or null. `test_devices.py` reads it.
"""

import functools
import json
import sys
import traceback
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn as rnn
from helpers.cases import CELLS
from helpers.programs import collectives, trips
from jaxrnn import training
from jaxrnn.testing.inputs import options

STEPS, BATCH = 7, 8  # 7 divides no other axis
ROWS = P(None, "b")  # [T, B, ...], the batch axis cut
CLOSE = 2e-5  # relative to the largest entry of a leaf: sums in another order


class Case(NamedTuple):
    """A run of a cell: what is compared on one device and on eight."""

    run: Any  # run(params, xs, state, **controls) -> (state, ys)
    params: Any
    xs: Any
    controls: dict[str, Any]
    first: Any  # first(params, batch) -> the initial state


def textbook(params, xs, state=None):
    """An LSTM as textbooks write it over `lax.scan`: the checks are right if it passes them."""
    units = params["w_h"].shape[0]

    def step(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ params["w_x"] + h @ params["w_h"] + params["b"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    # Made of the inputs, so that it is laid out, and varies, as they do.
    zero = xs[0, :, :1] * jnp.zeros(units)
    return jax.lax.scan(step, (zero, zero) if state is None else state, xs)


def by_hand(params, xs):
    """The textbook, its weights held constant in the loop: their gradient is a product after it."""
    hold = jax.lax.stop_gradient
    zero = xs[0, :, :1] * jnp.zeros((1, params["w_h"].shape[0]))
    hs = hold(textbook(params, xs)[1])
    before = jnp.concatenate([zero[None], hs[:-1]])
    loose = xs @ params["w_x"] + before @ params["w_h"] + params["b"]
    zs = loose - hold(before @ params["w_h"])

    def step(state, z):
        h, c = state
        i, f, g, o = jnp.split(z + h @ hold(params["w_h"]), 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return jax.lax.scan(step, (zero, zero), zs)


def case(cell, x=None, strategy=None, controlled=False, steps=STEPS, batch=BATCH) -> Case:
    """Random params, inputs and flags; `textbook` in place of a cell is that function."""
    plain = cell is textbook
    x = rnn.features(4) if x is None else x
    made = rnn.LSTM(4) if plain else cell
    params = jax.tree.map(np.asarray, made.init(jax.random.key(0), x))
    draw = np.random.default_rng(0)
    params = jax.tree.map(
        lambda a: (a + 0.1 * draw.standard_normal(a.shape)).astype(a.dtype), params
    )
    if jnp.issubdtype(x.dtype, jnp.integer):
        xs = draw.integers(0, 5, (steps, batch)).astype(x.dtype)
    else:
        xs = draw.standard_normal((steps, batch, *x.shape)).astype(x.dtype)
    if plain:
        return Case(textbook, params, xs, {}, lambda params, batch: (jnp.zeros((batch, 4)),) * 2)
    flags = {"mask": draw.random((steps, batch)) < 0.7, "resets": draw.random((steps, batch)) < 0.3}

    def run(params, xs, state=None, **controls):
        return rnn.unroll(
            cell, params, xs, state=state, strategy=strategy or rnn.Scan(), **controls
        )

    return Case(
        run,
        params,
        xs,
        flags if controlled else {},
        lambda params, batch: cell.initial_state(params, (batch,)),
    )


def total(tree):
    """A curved loss over all leaves, whose value on a batch is the sum of those on its parts."""
    return sum(jnp.sum(jnp.sin(1.3 * leaf + 0.7)) for leaf in jax.tree.leaves(tree))


def slopes(loss, params, xs):
    """The gradient in params, and in inputs that are not tokens."""
    args = (0, 1) if jnp.issubdtype(xs.dtype, jnp.floating) else (0,)
    return jax.grad(loss, args)(params, xs)


def answer(case: Case):
    """`f(params, xs, state, controls)`: outputs, last state, and gradients, in one program."""

    def f(params, xs, state, controls):
        def loss(params, xs):
            return total(case.run(params, xs, state, **controls))

        return case.run(params, xs, state, **controls), slopes(loss, params, xs)

    return f


def compare(got, want):
    """What differs, in words."""
    if jax.tree.structure(got) != jax.tree.structure(want):
        raise AssertionError(
            f"the structure is {jax.tree.structure(got)}, need {jax.tree.structure(want)}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want), strict=True)
    for (path, a), b in pairs:
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            raise AssertionError(
                f"{jax.tree_util.keystr(path)}: {a.dtype}{a.shape}, need {b.dtype}{b.shape}"
            )
        if a.size and not (off := np.abs(a - b).max()) <= CLOSE * max(np.abs(b).max(), 1e-2):
            raise AssertionError(
                f"{jax.tree_util.keystr(path)}: off by {off:.2g} of {np.abs(b).max():.2g}"
            )


def grid(*shape, names=("b", "m")) -> Mesh:
    return Mesh(np.array(jax.devices()).reshape(shape), names[: len(shape)])


def put(tree, mesh, spec):
    """Each leaf laid out by `spec`, or by `spec(leaf)`."""
    rule = spec if callable(spec) else lambda leaf: spec
    return jax.tree.map(lambda a: jax.device_put(a, NamedSharding(mesh, rule(a))), tree)


def jitted(f):
    """Numbers alone are looked at, so XLA may leave out what takes it long."""
    return jax.jit(f, compiler_options=options())


def on_one(case: Case, state=None):
    return jitted(answer(case))(case.params, case.xs, state, case.controls)


# Each way below raises where the numbers differ from those on one device.


def batch_over_devices(case: Case):
    mesh = grid(8, 1)
    params, rows = put(case.params, mesh, P()), put((case.xs, case.controls), mesh, ROWS)
    compare(jitted(answer(case))(params, rows[0], None, rows[1]), on_one(case))


def columns(leaf) -> P:
    """The last axis cut over "m", that of gates or hidden units."""
    even = leaf.ndim and leaf.shape[-1] % 2 == 0
    return P(*[None] * (leaf.ndim - 1), "m") if even else P()


def weights_over_devices(case: Case):
    mesh = grid(4, 2)
    params, rows = put(case.params, mesh, columns), put((case.xs, case.controls), mesh, ROWS)
    assert any("m" in a.sharding.spec for a in jax.tree.leaves(params)), "no weight is cut"
    program = jitted(answer(case)).lower(params, rows[0], None, rows[1]).compile()
    compare(program(params, rows[0], None, rows[1]), on_one(case))
    # A product whose input and matrix are cut over one axis of the mesh needs the other part of its
    # input: every step its own, and the gradient of the matrix all steps', once, after the loop.
    steps = case.xs.shape[0]
    bad = [c for c in collectives(program.as_text()) if c.loop and c.spans(steps)]
    assert not bad, f"all steps are sent in every step: {bad}"


def explicit(case: Case, given: bool = False):
    """A mesh whose axes are in the types; the first state is the cell's own, or given, laid out."""
    want = on_one(case, case.first(case.params, case.xs.shape[1]) if given else None)
    mesh = jax.make_mesh((8,), ("b",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params, rows = put(case.params, mesh, P()), put((case.xs, case.controls), mesh, ROWS)
        state = put(case.first(case.params, case.xs.shape[1]), mesh, P("b")) if given else None
        got = jitted(answer(case))(params, rows[0], state, rows[1])
        specs = [a.sharding.spec for a in jax.tree.leaves(got[0][1])]
    assert all("b" in spec for spec in specs), f"the outputs' batch axis is not cut: {specs}"
    compare(got, want)


def mapped(case: Case):
    """`shard_map` as it comes: forward, and the gradient in four ways."""
    mesh = grid(8)
    flags = jax.tree.map(lambda _: ROWS, case.controls)
    # Inputs of a batch axis come back cut, gradients of weights the same on every device.
    inputs = (P(), ROWS) if jnp.issubdtype(case.xs.dtype, jnp.floating) else (P(),)

    def loss(params, xs, controls):
        return total(case.run(params, xs, **controls))

    def smap(f, out):
        return jax.shard_map(f, mesh=mesh, in_specs=(P(), ROWS, flags), out_specs=out)

    def varying(tree):
        return jax.tree.map(lambda a: jax.lax.pcast(a, "b", to="varying"), tree)

    def forward(params, xs, controls):
        # The state's batch axis is its first, the outputs' their second.
        return smap(lambda p, x, c: case.run(p, x, **c), (P("b"), ROWS))(params, xs, controls)

    def inside(params, xs, controls):
        """The weights are the same everywhere, so their gradient is summed by JAX."""
        return smap(lambda p, x, c: slopes(lambda p, x: loss(p, x, c), p, x), inputs)(
            params, xs, controls
        )

    def summed_gradient(params, xs, controls):
        def local(p, x, c):
            first, *rest = slopes(lambda p, x: loss(p, x, c), varying(p), x)
            return jax.lax.psum(first, "b"), *rest

        return smap(local, inputs)(params, xs, controls)

    def summed_loss(params, xs, controls):
        def local(p, x, c):
            return slopes(lambda p, x: jax.lax.psum(loss(varying(p), x, c), "b"), p, x)

        return smap(local, inputs)(params, xs, controls)

    def around(params, xs, controls):
        whole = smap(lambda p, x, c: jax.lax.psum(loss(p, x, c), "b"), P())
        return slopes(lambda p, x: whole(p, x, controls), params, xs)

    ways = {f.__name__: f for f in (forward, inside, summed_gradient, summed_loss, around)}
    args = case.params, case.xs, case.controls
    wrong = {}
    for name, f in ways.items():
        try:
            jax.eval_shape(f, *args)
        except Exception as error:
            wrong[name] = said(error)
    fine = {name: f for name, f in ways.items() if name not in wrong}
    got = jitted(lambda *args: {name: f(*args) for name, f in fine.items()})(*args)
    ys, gradient = on_one(case)
    for name, value in got.items():
        try:
            compare(value, ys if name == "forward" else gradient)
        except AssertionError as error:
            wrong[name] = said(error)
    assert not wrong, str(wrong)


# What is counted on the compiled program. 37 divides no other axis, so a time axis is known by it.
LENGTH, ROW, UNITS, WIDE = 37, 64, 64, 32


class Counted(NamedTuple):
    run: Any  # run(params, xs) -> (state, ys)
    params: Any
    axis: int = 1  # of the batch


def counted() -> dict[str, Counted]:
    def of(cell, run=None):
        params = cell.init(jax.random.key(0), rnn.features(WIDE))
        return Counted(run or functools.partial(rnn.unroll, cell), params)

    lstm, gru, stack = (
        rnn.LSTM(UNITS),
        rnn.GRU(UNITS),
        rnn.Stack((rnn.LSTM(UNITS), rnn.LSTM(UNITS))),
    )
    batch_first = jax.vmap(functools.partial(rnn.unroll, lstm), (None, 0))
    found = {"textbook": of(lstm, textbook), "by hand": of(lstm, by_hand)}
    found |= {"lstm": of(lstm), "gru": of(gru), "stack": of(stack)}
    return found | {"lstm, batch first by vmap": of(lstm, batch_first)._replace(axis=0)}


def program(f, case: Counted, mesh=None):
    shape = (ROW, LENGTH, WIDE) if case.axis == 0 else (LENGTH, ROW, WIDE)
    xs = jax.random.normal(jax.random.key(1), shape)
    params = case.params
    if mesh is not None:
        params, xs = put(params, mesh, P()), put(xs, mesh, P(*[None] * case.axis, "b"))
    return jax.jit(f).lower(params, xs).compile()


def shared_work(name: str, one, eight):
    """A device does an eighth of the arithmetic. XLA counts a body once: loops must be equal."""
    assert trips(one.as_text()) == trips(eight.as_text()), (
        f"{name}: loops of {trips(eight.as_text())} steps, need {trips(one.as_text())}"
    )
    share = eight.cost_analysis()["flops"] / one.cost_analysis()["flops"]
    assert 0.9 / 8 <= share <= 1.1 / 8, (
        f"{name}: a device does {share:.3f} of the arithmetic, need {1 / 8}"
    )


def count_forward(case: Counted):
    mesh = grid(8)

    def forward(params, xs):
        return case.run(params, xs)[1]

    one, eight = program(forward, case), program(forward, case, mesh)
    found = collectives(eight.as_text())
    assert not found, f"devices that need nothing of one another talk: {found}"
    specs = [s.spec for s in jax.tree.leaves(eight.output_shardings)]
    assert all("b" in spec for spec in specs), f"the outputs' batch axis is not cut: {specs}"
    shared_work("forward", one, eight)


def count_gradient(case: Counted, in_loop: bool = False):
    """`in_loop` says that collectives within a loop are allowed."""
    mesh = grid(8)
    gradient = jax.grad(lambda params, xs: total(case.run(params, xs)[1]))
    one, eight = program(gradient, case), program(gradient, case, mesh)
    found = collectives(eight.as_text())
    assert not [c for c in found if c.spans(LENGTH)], f"an axis of steps is sent: {found}"
    assert {c.kind for c in found} == {"all-reduce"}, f"more than sums of gradients: {found}"
    assert in_loop or not [c for c in found if c.loop], f"devices talk at every step: {found}"
    need = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(case.params))
    got = sum(c.bytes for c in found)
    assert 0.99 * need <= got <= 1.05 * need + 64, (
        f"{got} bytes are summed, those of the params are {need}"
    )
    shared_work("gradient", one, eight)


def gathered(params, xs):
    """A run whose inputs are gathered first: what the counts above must find."""
    return textbook(params, jax.lax.with_sharding_constraint(xs, NamedSharding(grid(8), P())))


def caught(check, case, word):
    try:
        check(case)
    except AssertionError as error:
        found = str(error)
    else:
        raise AssertionError(f"{check.__name__} does not see what it looks for")
    assert word in found, f"found for another reason: {found}"


# Training


def trained(carried: bool):
    """Three steps over a batch that is laid out on a mesh, against the same on one device."""
    net = rnn.Stack((rnn.Embed(7, 4), rnn.LSTM(4), rnn.Dropout(0.2), rnn.GRU(4), rnn.Dense(7)))
    tx = training.optimizer(optax.sgd(0.5, momentum=0.9), clip=1.0)
    step = (training.truncated_bptt_step if carried else training.bptt_step)(
        net, training.cross_entropy, tx
    )
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, 7, (3, STEPS + 1, BATCH)).astype(np.int32)
    mask = draw.random((STEPS, BATCH)) < 0.8

    def three(lay, rows):
        start = training.TrainState.create(
            net,
            net.init(jax.random.key(0), rnn.TOKEN),
            tx,
            jax.random.key(1),
            (BATCH,) if carried else None,
        )
        run = lay(start)
        run = run._replace(carry=rows(start.carry, P("b"))) if carried else run
        losses = []
        for batch in tokens:
            xs, ys, flags = (rows(a, ROWS) for a in (batch[:-1], batch[1:], mask))
            run, metrics = step(run, training.Batch(xs, ys, flags))
            losses.append(metrics.loss)
            assert not metrics.skipped
        return run.params, run.carry, losses

    mesh = grid(8)
    got = three(lambda tree: put(tree, mesh, P()), lambda tree, spec: put(tree, mesh, spec))
    want = three(lambda tree: tree, lambda tree, spec: tree)
    compare(got, want)
    before = net.init(jax.random.key(0), rnn.TOKEN)
    moved = max(
        float(np.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(want[0]), jax.tree.leaves(before), strict=True)
    )
    assert moved > 1e-2, "training moves nothing"


# The groups: name -> check. The quick ones are the common cells in every mode, and others in one.

COMMON = {
    "textbook": (textbook, None, False),
    "lstm": (rnn.LSTM(4), None, True),
    "gru": (rnn.GRU(4), rnn.Chunked(4), False),
    "lru": (rnn.LRU(4, r_max=0.9), rnn.Associative(), True),
    "stack": (rnn.Stack((rnn.LSTM(4), rnn.Dense(4), rnn.GRU(4))), rnn.Chunked(4), True),
    "bidirectional": (rnn.Bidirectional(rnn.Elman(4)), None, True),
}
QUICK = {
    "jit": ["projected", "peephole", "normalised lstm", "s5"],
    "explicit": ["elman", "rg-lru", "diagonal gru", "convolution"],
    "shard_map": ["gru before", "mingru", "diagonal lstm", "terms"],
}
WAYS = {
    "jit": batch_over_devices,
    "explicit": explicit,
    "shard_map": mapped,
    "model": weights_over_devices,
}
SKIPPED = {"dropout"}  # no params, and nothing to compare without a key


def checks(group: str, whole: bool = False) -> dict[str, Any]:
    """The checks of a group, by name."""
    found: dict[str, Any] = {}
    if group in WAYS:
        way = WAYS[group]
        for name, (cell, strategy, controlled) in {} if whole else COMMON.items():
            found[name] = functools.partial(run, way, cell, None, strategy, controlled)
        if group == "explicit" and not whole:
            for name in ("textbook", "lstm"):
                found[f"{name}, its state given"] = functools.partial(
                    run, functools.partial(explicit, given=True), *spread(COMMON[name])
                )
        for turn, name in enumerate(
            [] if group == "model" else list(CELLS) if whole else QUICK[group]
        ):
            if name in SKIPPED:
                continue
            cell, x, *_ = CELLS[name]
            for strategy in (
                (None, rnn.Chunked(4)) if whole else ((None, rnn.Chunked(4))[turn % 2],)
            ):
                for controlled in (False, True) if whole else (turn % 3 > 0,):
                    label = f"{name}, {strategy or rnn.Scan()!r}{', mask and resets' * controlled}"
                    found[label] = functools.partial(run, way, cell, x, strategy, controlled)
        if group == "model" and whole:
            for name, cell in WIDTHS.items():
                for strategy in (None, rnn.Chunked(4)):
                    found[f"{name}, {strategy or rnn.Scan()!r}"] = functools.partial(
                        run, way, cell, None, strategy, True
                    )
    elif group == "counted":
        for name, case in counted().items():
            found[f"{name}, forward"] = functools.partial(count_forward, case)
            # Autodiff of a scan sums weight gradients in its loop, on XLA:CPU over devices too.
            found[f"{name}, gradient"] = functools.partial(
                count_gradient, case, in_loop=name == "textbook"
            )
        params = rnn.LSTM(UNITS).init(jax.random.key(0), rnn.features(WIDE))
        found["the counts see inputs gathered"] = functools.partial(
            caught, count_gradient, Counted(gathered, params), "an axis of steps"
        )
        found["the counts see what is not shared"] = functools.partial(
            caught, count_forward, Counted(gathered, params), "talk"
        )
        plain = Counted(textbook, params)
        found["the counts see a loop that talks"] = functools.partial(
            caught, count_gradient, plain, "at every step"
        )
    elif group == "training":
        found = {
            "bptt_step": functools.partial(trained, False),
            "truncated": functools.partial(trained, True),
        }
    else:
        raise ValueError(f"no group {group!r}")
    return found


WIDTHS = {
    "elman": rnn.Elman(4),
    "projected": rnn.LSTM(8, projection=4),
    "peephole": rnn.PeepholeLSTM(4),
    "gru before": rnn.GRU(4, reset_after=False),
    "normalised lstm": rnn.LayerNormLSTM(4),
    "normalised gru": rnn.LayerNormGRU(4),
    "diagonal gru": rnn.DiagonalGRU(4),
    "diagonal lstm": rnn.DiagonalLSTM(4),
    "s5": rnn.S5(4),
    "mingru": rnn.MinGRU(4),
    "minlstm": rnn.MinLSTM(4),
    "rg-lru": rnn.RGLRU(),
    "selective": rnn.S6(4),
}


def spread(row: tuple) -> tuple:
    cell, strategy, controlled = row
    return cell, None, strategy, controlled


def run(way, cell, x, strategy, controlled):
    way(case(cell, x, strategy, controlled))


def said(error: BaseException) -> str:
    """Where and what, in a line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300] if text else ''} ({last.name})"


def main(group: str, whole: bool = False) -> dict[str, str | None]:
    assert len(jax.devices()) == 8, f"need 8 devices, got {len(jax.devices())}: set XLA_FLAGS"
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    found: dict[str, str | None] = {}
    for name, check in checks(group, whole).items():
        try:
            check()
        except Exception as error:
            found[name] = said(error)
        else:
            found[name] = None
        if whole:
            jax.clear_caches()  # a process may map only so many programs
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], "whole" in sys.argv[2:])))

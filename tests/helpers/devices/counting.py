"""What devices do and say to one another, counted on the compiled program."""

import functools
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn as rnn
from helpers.devices.cases import by_hand, grid, put, textbook, total
from helpers.programs import collectives, trips

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

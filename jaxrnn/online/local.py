"""Influence kept where a param touches the state: SnAp-1 and e-prop, each cell of a net by itself.

Let cell i have the state s^i, the params w^i (its own and the state that a reset returns to) and
the input x^i. In time, only the influence of w^i on s^i is carried, with x^i held:

    J^i_t = A^i_t J^i_{t-1} + B^i_t

where A^i is what the algorithm keeps of ds^i_t/ds^i_{t-1}. In depth, the loss of a step is
differentiated in full. A zero is added to every new state; the derivative by it is the signal
L^i_t = dl_t/ds^i_t, through all layers above. So

    grads_t = sum over i of L^i_t J^i_t  +  dl_t/dparams with the influence on its own s^i left out.

Left out is what w^i does to the states of other cells in time: a param of a layer below reaches a
cell above through the input of this step, and not through those of steps before.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import controls
from jaxrnn.autodiff.dot import Dot
from jaxrnn.cell import Cell
from jaxrnn.composite import Composite, by_spec, one_step, run_children, specs
from jaxrnn.layer import Layer, Params, State
from jaxrnn.online import units
from jaxrnn.online.influence import Pattern, carried, direct, pattern_of, pulled
from jaxrnn.online.protocol import (
    Flag,
    Now,
    Online,
    broadcast,
    by_rows,
    initial,
    input_of,
    kept,
    measured,
    row_spec,
)
from jaxrnn.params import freeze
from jaxrnn.training.losses import MaskedMean

Place = tuple[int, ...]  # of a cell in a net: which child of which child


class Traces(NamedTuple):
    """The network's state, and for each cell the influence of its params on its own state."""

    state: State
    influence: Any


def places(layer: Layer, params: Params, state: State, path: Place = ()) -> dict[Place, Any]:
    """The cells of a net: each one, its params and its part of a state."""
    if isinstance(layer, Composite):
        children = enumerate(zip(layer.children, layer.split(params), state, strict=True))
        return {k: v for i, child in children for k, v in places(*child, (*path, i)).items()}
    return {path: (layer, params, state)} if isinstance(layer, Cell) else {}


def owned(net: Layer, params: Params) -> dict[Place, Any]:
    """What each cell's influence is of: its params, and the state of a row that it begins from."""
    params = freeze(params)
    found = places(net, params, net.initial_state(params))
    return {path: (own, start) for path, (_, own, start) in found.items()}


def cell_step(
    cell: Cell, cut: bool, own: Any, state: State, x: Any, mask: Any, reset: Any
) -> State:
    """One step of a cell; `cut` stops the gradient into the inputs of its products."""
    own = freeze(own[0]), own[1]
    z, dot = projected(cell, own[0], x), Dot(own)
    if cut:
        dot = dot.fed(lambda x, path: jax.lax.stop_gradient(x))
    return controls.controlled(cell)(own, state, (z, mask, reset), dot)


def projected(cell: Cell, params: Params, x: Any) -> Any:
    """The z of one step."""
    z = cell.project(params, jax.tree.map(lambda a: a[None], x))
    return jax.tree.map(lambda a: a[0], z)


def exposed(
    layer: Any,
    params: Params,
    state: State,
    start: State,
    zeros: dict[Place, Any],
    x: Any,
    now: Now,
    path: Place = (),
) -> tuple[State, Any, dict[Place, Any]]:
    """One step of any layer, zeros added to every cell's new state, which is a constant of the
    cell's own params; and the inputs of all cells.
    """
    inputs: dict[Place, Any] = {}
    if isinstance(layer, Composite):

        def run(i: int, child: Layer, p: Params, x: Any, reverse: bool) -> tuple[State, Any]:
            new, y, seen = exposed(child, p, state[i], start[i], zeros, x, now, (*path, i))
            inputs.update(seen)
            return new, y

        return *run_children(layer, params, x, run), inputs
    if not isinstance(layer, Cell):
        new, y = one_step(layer, params, state, start, x, None, 0, now.mask, now.reset)
        return new, y, inputs
    x = controls.blank(x, now.mask)
    own = jax.lax.stop_gradient((params, start))
    new = cell_step(layer, False, own, state, x, now.mask, now.reset)
    new = jax.tree.map(jnp.add, new, zeros[path])
    return new, layer.readout(params, new, projected(layer, params, x)), {path: x}


@by_spec
def patterns(net: Layer, given: Any) -> dict[Place, Pattern]:
    """How the influence of each cell's own params on its own state is kept."""
    cut, params, x = given
    state = jax.eval_shape(partial(initial, net), params)
    cells: dict[Place, Cell] = {}

    def look(params: Params, state: State, x: Any) -> Any:
        found = places(net, params, state)
        cells.update({path: cell for path, (cell, _, _) in found.items()})
        states = {path: own for path, (_, _, own) in found.items()}
        zeros = jax.tree.map(jnp.zeros_like, states)
        now = Now(x, None, None, None, ())
        inputs = exposed(net, params, state, state, zeros, x, now)[2]
        return owned(net, params), states, inputs

    own, states, inputs = jax.eval_shape(look, params, state, x)
    begins = jax.make_jaxpr(partial(initial, net))(params)
    anywhere = [np.zeros(v.aval.shape, np.int64) for v in begins.jaxpr.invars]
    learned = any((a != units.NONE).any() for a in units.flow(begins, anywhere))

    def one(path: Place) -> Pattern:
        step, through = (partial(cell_step, cells[path], flag) for flag in (False, cut))
        rest = (inputs[path], Flag, Flag)
        found = pattern_of(step, own[path], states[path], rest, exact=False, through=through)
        if learned:
            return found
        count = len(jax.tree.leaves(own[path][1]))  # the state that a reset returns to comes last
        return found._replace(leaves=found.leaves[:-count] + ("none",) * count)

    return {path: one(path) for path in cells}


class Local(Online):
    """The influence of each cell's params on its own units; `cut` says what is kept of A."""

    holds = Traces
    cut: ClassVar[bool]

    def begin(
        self, params: Params, batch: tuple[int, ...], key: jax.Array | None, x: Any
    ) -> Traces:
        x = input_of(type(self).__name__, self.cell, params, x)
        how = patterns(self.cell, (self.cut, *specs((params, x))))
        own = owned(self.cell, params)
        first = tuple(direct(how[path], lambda own: own[1], own[path])[1] for path in how)
        return Traces(initial(self.cell, params, batch), broadcast(first, batch))

    def learn(
        self, params: Params, learner: Traces, now: Now
    ) -> tuple[Traces, tuple[MaskedMean, Params]]:
        net = self.cell
        how = patterns(net, (self.cut, specs(params), row_spec(now)))
        found = places(net, params, learner.state)
        states = {path: state for path, (_, _, state) in found.items()}

        def total(params: Params, zeros: Any) -> tuple[jax.Array, tuple]:
            params = freeze(params)
            start = net.initial_state(params, now.batch)
            new, y, inputs = exposed(net, params, learner.state, start, zeros, now.x, now)
            loss = measured(self.loss, controls.blank(y, now.mask), now)
            return loss.total, (new, loss, inputs)

        zeros = jax.tree.map(jnp.zeros_like, states)
        (_, (new, loss, inputs)), (explicit, signals) = jax.value_and_grad(
            total, (0, 1), has_aux=True
        )(params, zeros)
        own, pull = jax.vjp(partial(owned, net), params)
        grads, influence = {}, []
        for path, old in zip(how, kept(learner.influence, now), strict=True):

            def carry(own: Any, state: State, old: Any, *now: Any, path: Place = path) -> Any:
                cell = found[path][0]
                step, through = (
                    lambda own, state, cut=cut: cell_step(cell, cut, own, state, *now)
                    for cut in (False, self.cut)
                )
                return carried(how[path], step, own, state, old, through)

            rows = by_rows(carry, now.batch, shared=1)
            trace = rows(own[path], states[path], old, inputs[path], now.mask, now.reset)
            grads[path] = pulled(how[path], signals[path], trace, own[path], now.batch)
            influence.append(trace)
        (local,) = pull(grads)
        return Traces(new, tuple(influence)), (loss, jax.tree.map(jnp.add, explicit, local))


class SnAp1(Local):
    """The one-step sparse approximation of `RTRL`: the influence of a param is kept on the units
    that it touches within one step.

        J_t = M (A_t J_{t-1} + B_t)       M: 1 where B_t may be nonzero, else 0
        grads_t = dl_t/ds_t J_t           and the params that act on the output alone, as they are

    For a gated cell a param's column belongs to one unit u, and with it the M = 1 or 2 leaves of
    the state at u. Equal to `RTRL` for a net whose one recurrent cell is elementwise and first.
    Where a step mixes units within itself (a normalised cell, an LSTM with a projection, a GRU that
    resets before its product), the params before the mixing touch all units and are kept whole.

    In a net of several layers each cell is learned by itself in time, and through all layers in
    depth. Left out is what a param does to the states of other cells at earlier steps: those of an
    `Embed` or a layer below reach a cell above through the input of this step alone.

    Memory, in floats: B M P for B rows and P params of cells, M being 1 or 2; B S P for those that
    are kept whole. Time: S steps for the diagonal of A, or M where the cell is elementwise.

    Args:
      cell: a causal net.
      loss: `loss(ys, targets, mask) -> MaskedMean`, as for `training.bptt_step`; it is called with
        one step, `[1, ...]`.

    Raises:
      TypeError, ValueError: for a net that is not causal or looks at a bound memory, or a loss that
        is none.

    Example:
      >>> net = Stack((GRU(8), Dense(1)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> learning = SnAp1(net, mse)
      >>> learner = learning.init(params, (2,))
      >>> x, target = jnp.ones((2, 3)), jnp.ones((2, 1))
      >>> learner, (loss, grads) = learning.step(params, learner, x, target)
      >>> grads[0]["w_h"].shape
      (8, 24)

    Menick et al. 2020; each layer by itself: Zucchet et al. 2023.
    """

    cut = False


class EProp(Local):
    """e-prop: eligibility traces that no product carries from unit to unit, times the learning
    signal of the step.

        e_t = D_t e_{t-1} + B_t           D_t: ds_t/ds_{t-1} with the inputs of products held
        grads_t = dl_t/ds_t e_t           and the params that act on the output alone, as they are

    Held are the inputs of every product by `dot` in the cell's step, `dot(h, "w_h")` say; the path
    of a state within its unit is kept: f of an LSTM, z of a GRU, all of an elementwise or linear
    cell, for which e-prop equals `SnAp1`. An `Elman` keeps nothing: its gradient is that of one
    step. A cell that multiplies by a plain `@` has nothing held, and an LSTM's projection hides its
    traces from the output. The signal is the derivative of this step's loss through the layers
    above, with their own weights (symmetric feedback).

    A net of several layers is learned as by `SnAp1`, each cell by itself in time.

    Memory, in floats: B M P for B rows, M leaves of state and P params of cells; B S P for params
    whose step mixes units, as for `SnAp1`. Time: M + 1 steps.

    Args:
      cell: a causal net.
      loss: `loss(ys, targets, mask) -> MaskedMean`, as for `training.bptt_step`; it is called with
        one step, `[1, ...]`.

    Raises:
      TypeError, ValueError: for a net that is not causal or looks at a bound memory, or a loss that
        is none.

    Example:
      >>> net = Stack((LSTM(8), Dense(1)))
      >>> params = net.init(jax.random.key(0), features(3))
      >>> learning = EProp(net, mse)
      >>> learner = learning.init(params, (2,))
      >>> x, target = jnp.ones((2, 3)), jnp.ones((2, 1))
      >>> learner, (loss, grads) = learning.step(params, learner, x, target)
      >>> learner.influence[0][1].shape  # of w_h, on h and c
      (2, 2, 8, 32)

    Bellec et al. 2020.
    """

    cut = True

"""Any cell's whole trajectory at once, by Newton's method."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxrnn import errors
from jaxrnn.autodiff.linear_loops import forget, states_before
from jaxrnn.autodiff.linear_scan import linear_scan
from jaxrnn.autodiff.tangent import with_tangent
from jaxrnn.autodiff.transitions import map_transitions, multiply
from jaxrnn.cell import Cell, LinearCell
from jaxrnn.controls import Piece, blank
from jaxrnn.strategies.jacobians import Inputs, Jacobian, Problem
from jaxrnn.strategies.linear_cell import linear
from jaxrnn.strategies.strategy import Strategy


class Report(NamedTuple):
    """How an iteration ended.

    `iterations []` is their number. `step` (the last change), `residual` (the error that is left),
    `rounding` (how far rounding may have grown) and `converged` are `[...]`, one for each row, over
    all steps and units; sizes are relative to 1 + |state|.
    """

    iterations: jax.Array
    step: jax.Array
    residual: jax.Array
    rounding: jax.Array
    converged: jax.Array


class Progress(NamedTuple):
    """Where an iteration is: whether its states have been looked at, when they were found."""

    checked: jax.Array
    states: jax.Array
    report: Report


class Newton(Strategy):
    """All states of a nonlinear cell at once: every iteration evaluates all steps side by side and
    solves one linear recurrence.

        s'_t = f_t(s_{t-1}) + J_t (s'_{t-1} - s_{t-1}) for all t,  then s <- s', until it stays

    The trajectory is the only fixed point. The gradient is that of the fixed point, by one linear
    recurrence with the exact Jacobian, whatever the iteration used. A row that has not converged is
    NaN, in values and gradients.

    It pays where a processor can run many steps at once, the state is small or the cell diagonal,
    and the cell forgets (its largest Lyapunov exponent is negative). A cell that
    expands takes about as many iterations as steps, and rounding errors grow along the sequence, as
    they do with `Scan`. One more linear recurrence estimates them (with `jacobian="diagonal"` by
    the diagonal alone, unless there were many iterations). A row where they pass eps^0.4 (float32:
    0.002) has not converged.

    Jacobians take `[T, ..., N, N]`, and temporaries one to three times that: the most where a state
    has several arrays, as an LSTM's, or where Jacobians are multiplied in chunks. Cut long
    sequences with `Chunked(size, inner=Newton())`. A `LinearCell` is evaluated as it is.

    Args:
      max_iters: the most iterations.
      tol: the largest step and residual of a converged row, relative to 1 + |state|. By default
        eps^0.6 (float32: 7e-5, where one more step would be smaller than rounding), and eps^0.75
        with a diagonal.
      jacobian: "full", or "diagonal", which iterates with the diagonal alone: it takes as much
        memory as the states, and more iterations. Cells whose Jacobian is diagonal anyway
        (`cell.elementwise`) use it in either case.
      radix: as in `Associative`.

    Raises:
      TypeError, ValueError: for a `max_iters`, `tol`, `jacobian` or `radix` out of range.

    Example:
      >>> cell = GRU(8)
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((50, 3)), strategy=Newton())
      >>> ys.shape
      (50, 8)

    Lim et al. 2024 (DEER); Gonzalez et al. 2024 (its diagonal); Danieli et al. 2025 (ParaRNN).
    """

    max_iters: int = 50
    tol: float | None = None
    jacobian: Jacobian = "full"
    radix: int | None = None

    def __post_init__(self) -> None:
        do = "Contracting cells take less than ten."
        errors.check_size(self, "max_iters", self.max_iters, do)
        if self.tol is not None:
            errors.check_positive(self, "tol", self.tol, "Leave it at None unless measured.")
        errors.check_choice(self, "jacobian", self.jacobian, get_args(Jacobian))
        errors.check_radix(self, self.radix)

    def run(self, cell: Cell, params: Any, piece: Piece) -> tuple[Any, Any]:
        if isinstance(cell, LinearCell):
            return linear(cell, params, piece, radix=self.radix)
        return self.trajectory(cell, params, piece, None)[:2]

    def trajectory(
        self, cell: Cell, params: Any, piece: Piece, guess: Any
    ) -> tuple[Any, Any, Report]:
        """The last state, all states, and the report; `guess` are states like them, by default a
        step from the initial state at every t.
        """
        problem = Problem.of(cell, params, self.jacobian, piece.reverse)
        inputs = Inputs(params, piece.start, piece.zs)
        if guess is None:
            guess = problem.first(inputs, piece.mask, piece.resets, piece.length)
        states, report = solved(
            (self, problem),
            inputs,
            piece.state,
            jax.lax.stop_gradient(guess),
            piece.mask,
            piece.resets,
        )

        def checked(s: jax.Array) -> jax.Array:
            # A product, so that the gradient of a row that has not converged is NaN too.
            valid = jnp.where(report.converged, 1, jnp.nan).astype(s.dtype)
            return s * valid.reshape(valid.shape + (1,) * (s.ndim - 1 - valid.ndim))

        states = jax.tree.map(checked, states)
        last = (
            jax.tree.map(lambda s: s[0 if piece.reverse else -1], states)
            if piece.length
            else piece.state
        )
        return last, states, report

    def tolerance(self, dtype: Any) -> float:
        return (
            float(jnp.finfo(dtype).eps) ** (0.6 if self.jacobian == "full" else 0.75)
            if self.tol is None
            else self.tol
        )


def iterated(
    static: tuple[Newton, Problem], inputs: Inputs, state: Any, guess: Any, mask: Any, resets: Any
) -> tuple[Any, Report]:
    """The states that the iteration ends in, and the report."""
    newton, problem = static
    first, guess = problem.pack(state), problem.pack(guess)
    tolerance, radix = newton.tolerance(first.dtype), newton.radix
    unpack = problem.unpacker(state)

    def size(change: jax.Array, states: jax.Array) -> jax.Array:
        share = jnp.abs(change) / (1 + jnp.abs(states))
        # XLA:CPU loses NaN in the maximum of more than 4,096 numbers.
        return problem.largest(jnp.where(jnp.isnan(share), jnp.inf, share))

    if not guess.shape[0]:
        rows = jnp.zeros(first.shape[: first.ndim - problem.axes], first.dtype)
        return unpack(guess), Report(jnp.zeros((), int), rows, rows, rows, rows == 0)
    eps = jnp.finfo(guess.dtype).eps
    signs = jax.random.rademacher(jax.random.key(0), guess.shape, guess.dtype)

    def solve(at: Any, drive: jax.Array, start: jax.Array) -> jax.Array:
        return linear_scan(
            at, drive, start, mask=mask, resets=resets, reverse=problem.reverse, radix=radix
        )[1]

    # Jacobians are made, and a linear recurrence is run, in one place of the program, which takes
    # long to compile for an accelerator: the pass that looks at the states, when they are found, is
    # one more pass of the loop.
    def body(carry: Progress) -> Progress:
        states, report = carry.states, carry.report
        found = (report.iterations >= newton.max_iters) | jnp.all(report.step <= tolerance)
        before = forget(resets, states_before(first, states, problem.reverse))
        new, transition = problem.linearized(inputs, before, mask, resets, unpack)
        noise = eps * (1 + jnp.abs(states)) * signs
        drive = new - map_transitions(multiply, transition, before)
        start = jnp.where(found, jnp.zeros_like(first), first)
        after = solve(transition, jnp.where(found, noise, drive), start)
        # Such states begin anew from the guess: those before them are right already, or will be.
        bad = ~jnp.isfinite(after)
        step = size(jnp.where(bad, jnp.inf, after - states), after)
        return Progress(
            found,
            jnp.where(found, states, jnp.where(bad, guess, after)),
            Report(
                report.iterations + jnp.where(found, 0, 1),
                jnp.where(found, report.step, step),
                size(new - states, states),
                size(after, states),
                report.converged,
            ),
        )

    far = jnp.full_like(problem.largest(guess), jnp.inf)
    none = Report(jnp.zeros((), int), far, far, far, far < 0)
    _, states, report = jax.lax.while_loop(
        lambda carry: ~carry.checked, body, Progress(jnp.zeros((), bool), guess, none)
    )

    def exactly() -> jax.Array:
        before = forget(resets, states_before(first, states, problem.reverse))
        drives = unpack(blank(eps * (1 + jnp.abs(states)) * signs, mask))
        zero = jax.tree.map(jnp.zeros_like, state)
        pushed = problem.pushed(inputs, unpack(before), drives, zero, mask, resets)
        return size(problem.pack(pushed), states)

    rounding = report.rounding
    if problem.kind == "diagonal":
        # After many iterations the diagonal alone says little about what grows.
        slow = 4 * report.iterations >= len(states)
        rounding = jax.lax.cond(slow, exactly, lambda: rounding)
    converged = (report.step <= tolerance) & (report.residual <= tolerance) & (rounding <= eps**0.4)
    return unpack(states), report._replace(rounding=rounding, converged=converged)


def linearized(
    static: tuple[Newton, Problem], primals: tuple, results: tuple[Any, Report], tangents: tuple
) -> tuple[Any, Report]:
    """`ds_t = J_t ds_{t-1} + df_t`: the tangent of the fixed point, however it was reached."""
    newton, problem = static
    inputs, state, _, mask, resets = primals
    states, report = results
    before = forget(resets, states_before(state, states, problem.reverse))
    _, df = jax.jvp(
        lambda inputs: problem.steps(inputs, before, mask, resets), (inputs,), (tangents[0],)
    )
    if problem.kind == "diagonal":
        ds = problem.pushed(inputs, before, df, tangents[1], mask, resets)
    else:
        unpack = problem.unpacker(state)
        _, transition = problem.linearized(inputs, problem.pack(before), mask, resets, unpack)
        _, ds = linear_scan(
            transition,
            problem.pack(df),
            problem.pack(tangents[1]),
            mask=mask,
            resets=resets,
            reverse=problem.reverse,
            radix=newton.radix,
        )
        ds = unpack(ds)
    return ds, jax.tree.map(jnp.zeros_like, report)


solved = with_tangent(iterated, linearized)

"""The tangent of a step, as a step of its own."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jax.extend.core import jaxpr_as_fun

from jaxrnn.autodiff._jax import ClosedJaxpr, Variable, dce, row_of, trace
from jaxrnn.autodiff.step import Loose, Step, inexact


class TangentStep(NamedTuple):
    """The tangent of a step, from values that the loop kept: `f'` in `recurrence.py`.

    It reads constants, kept values, the tangents of constants, and rows of tangents of z's and of
    sums. Each list has only what it needs.
    """

    closed: ClosedJaxpr
    consts: list[Variable]
    dconsts: list[Variable]
    kept: list[Variable]
    drows: list[Variable]
    dcarry: list[bool]  # which tangents of the state it reads

    def __call__(self, consts: list, dcarry: list, row: list) -> list:
        """The tangents of the new state; `consts` are followed by their tangents, as rows are."""
        n, k = len(self.consts), len(self.kept)
        dcarry = [d for d, used in zip(dcarry, self.dcarry, strict=True) if used]
        args = [*consts[:n], *row[:k], *consts[n:], *dcarry, *row[k:]]
        return jaxpr_as_fun(self.closed)(*args)

    @classmethod
    def of(
        cls,
        step: Step,
        primals: tuple,
        dconsts: list[Variable],
        drows: list[Variable],
        dsums: list[Variable],
        loose: list[Loose],
    ) -> TangentStep:
        """The step for these tangents; `dsums` are sums whose tangents are inputs of their own, as
        those of loose invariants are.
        """
        consts, carry, rows = primals
        floats = [v for v in step.carry if inexact(v.aval)]
        sums = [s.var for s in step.sums]
        groups = (
            step.consts,
            [*step.carry, *step.rows, *sums],
            dconsts,
            floats,
            [*drows, *dsums],
            loose,
        )
        avals = {v: row_of(a) for v, a in zip(step.rows, rows, strict=True)}
        avals |= dict(
            zip((*step.consts, *step.carry), map(jax.typeof, (*consts, *carry)), strict=True)
        )

        def tangent(
            consts: list, kept: list, dconsts_: list, dcarry: list, drows_: list, loose_: list
        ) -> list:
            given = dict(zip((*groups[0], *groups[1]), (*consts, *kept), strict=True))
            names = (*dconsts, *floats, *groups[4])
            dots = dict(zip(names, (*dconsts_, *dcarry, *drows_), strict=True))
            return step.tangent(given, dots, dict(zip(loose, loose_, strict=True)))

        closed = trace(tangent, *[[avals.get(v, v.aval) for v in group] for group in groups])
        closed, used = dce(closed)
        flags = iter(used)
        live = [[v for v in group if next(flags)] for group in groups]
        read = [v in live[3] for v in floats]
        return cls(closed, live[0], live[2], live[1], [*live[4], *live[5]], read)

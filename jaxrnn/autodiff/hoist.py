"""Loop-invariant equations: what depends on constants alone is computed once, before the loop."""

from __future__ import annotations

import math
from typing import Any

from jaxrnn.autodiff._jax import Equation, Var, Variable, evaluate, fixed


def hoisted(eqns: list[Equation], consts: list[Variable]) -> tuple[list[Equation], list[Equation]]:
    """The equations that depend on constants alone, to be computed before a loop, and the rest.

    An equation whose result is larger than its inputs (a bias broadcast to a batch) stays in the
    loop, where it is cheap.
    """
    known, early, late = set(consts), [], []
    for eqn in eqns:
        used = [v for v in eqn.invars if isinstance(v, Var)]
        size = _size(eqn.outvars)
        smaller = size < math.inf and size <= _size(used)
        if used and smaller and known.issuperset(used) and not eqn.effects:
            known.update(eqn.outvars)
            early.append(eqn)
        else:
            late.append(eqn)
    return early, late


def _size(variables: list) -> float:
    """Numbers in all of them; a symbol of `jax.export` (a batch) counts as more than any."""
    sizes = [getattr(v.aval, "size", 0) for v in variables]
    return sum(sizes) if fixed(*sizes) else math.inf


def needed(eqns: list[Equation], outs: list) -> list[Variable]:
    """The variables that these equations and results read."""
    used = [v for eqn in eqns for v in eqn.invars] + list(outs)
    return list(dict.fromkeys(v for v in used if isinstance(v, Var)))


def before_loop(eqns: list[Equation], consts: dict[Variable, Any], outs: list) -> tuple[dict, list]:
    """The constants that the loop still needs, invariants among them, and the loop's equations."""
    early, late = hoisted(eqns, list(consts))
    env = dict(consts)
    evaluate(early, env)
    return {v: env[v] for v in needed(late, outs) if v in env}, late

"""What is left of a loop where not all of its results are read."""

from __future__ import annotations

from typing import Any

from jaxrnn.autodiff._jax import ClosedJaxpr, without
from jaxrnn.autodiff.members import shares


def pruned(used: list[bool], eqn: Any) -> tuple[list[bool], Any]:
    """The loop without the ys and the members that nothing reads, and without what only they
    need.
    """
    params = dict(eqn.params)
    jaxpr, (consts, carry) = params["jaxpr"], (params["num_consts"], params["num_carry"])
    count, size = len(params["reverse"]), len(jaxpr.in_avals)
    uses = shares(used, count)
    alive = [k for k in range(count) if any(uses[k])]
    if not alive:
        return [False] * len(eqn.invars), None
    keep = [*[True] * carry, *(any(uses[k][j] for k in alive) for j in range(carry, len(uses[0])))]
    needs = [*[False] * consts, *[True] * carry, *[False] * (size - consts - carry)]
    inner, reads = without(jaxpr.jaxpr, keep, needs)
    left = [i for i, read in enumerate(reads) if read]
    params |= {"jaxpr": ClosedJaxpr(inner, jaxpr.consts), "num_consts": sum(reads[:consts])}
    params["reverse"] = tuple(params["reverse"][k] for k in alive)
    xs = [i - consts - carry for i in left if i >= consts + carry]
    params["free"] = tuple(xs.index(i) for i in params["free"] if i in xs)
    if (kernel := params["kernel"]) is not None and kernel.rows is not None:
        params["kernel"] = kernel._replace(rows=tuple(kernel.rows[i] for i in left))
    invars, outvars = shares(eqn.invars, count), shares(eqn.outvars, count)
    invars = [invars[k][i] for k in alive for i in left]
    outvars = [v for k in alive for v, kept in zip(outvars[k], keep, strict=True) if kept]
    reads = [read and k in alive for k in range(count) for read in reads]
    return reads, eqn.replace(invars=invars, outvars=outvars, params=params)

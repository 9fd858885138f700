"""Reading the loops of a jaxpr, whichever JAX wrote it."""


def equations(jaxpr, primitive):
    """Every equation of a primitive in a jaxpr, within those of others too."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == primitive:
            yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner, primitive)


def loops(jaxpr, reverse):
    """Every loop in a jaxpr that runs in the given direction: the library's and `lax.scan`'s."""
    for name in ("loop", "scan"):
        for eqn in equations(jaxpr, name):
            ways = eqn.params["reverse"]  # the library's has one for each member
            if reverse in (ways if isinstance(ways, tuple) else (ways,)):
                yield eqn


def body(eqn):
    """The jaxpr of one step of a loop."""
    inner = eqn.params["jaxpr"]
    return getattr(inner, "jaxpr", inner)


def parts(eqn):
    """Shapes of what a loop carries or accumulates in place, and of what it stacks. What is sliced
    or stacked has one axis more outside the loop than inside."""
    step = body(eqn)
    carry = sum(a.aval.ndim == b.aval.ndim for a, b in zip(eqn.outvars, step.outvars, strict=True))
    sliced = sum(
        a.aval.ndim != b.aval.ndim
        for a, b in zip(eqn.invars, step.invars, strict=True)
        if hasattr(b.aval, "ndim")
    )
    consts = len(eqn.invars) - carry - sliced
    carried = {v.aval.shape for v in eqn.invars[consts : consts + carry]}
    accumulated = {
        v.aval.inner_aval.shape for v in eqn.invars[:consts] if hasattr(v.aval, "inner_aval")
    }
    return carried | accumulated, [v.aval.shape for v in eqn.outvars[carry:]]

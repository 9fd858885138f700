"""What cells, verbs and strategies refuse."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.errors.message import describe, error, same_shape


def check_cell(cell: Any, kind: type) -> None:
    if not isinstance(cell, kind):
        made = " (the class itself)" if isinstance(cell, type) else ""
        raise error(
            TypeError,
            cell,
            f"a {type(cell).__name__}{made} where a cell is due",
            "an instance of jaxrnn.Layer",
            "Pass a cell such as LSTM(128).",
        )
    try:
        hash(cell)
    except TypeError as why:
        raise error(
            TypeError,
            cell,
            f"a cell that cannot be hashed ({why})",
            "fields that hash, since a cell is static configuration",
            "Use tuples instead of lists and numbers or strings instead of arrays; "
            "arrays belong in params.",
        ) from None


def check_array(cell: Any, name: str, x: Any) -> None:
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        raise error(
            TypeError,
            cell,
            f"{name} as a {type(x).__name__}",
            f"{name} as one array",
            f"Pass jnp.asarray({name}).",
        )


def check_example(cell: Any, x: Any) -> None:
    """What `init` is told of one step's input."""
    if not (hasattr(x, "shape") and hasattr(x, "dtype")):
        need = "what one step's input is like"
        do = "Pass the number of features, TOKEN, features(...) or an example array."
        raise error(TypeError, cell, f"an example input {x!r}, a {type(x).__name__}", need, do)


def check_rank(cell: Any, xs: Any, time: int) -> None:
    """`time` is 1 where a leading time axis is due, 0 for one step."""
    need = cell.feature_ndim + time
    if xs.ndim < need:
        axes = "[T, ..., features]" if time else "[..., features]"
        raise error(
            ValueError,
            cell,
            f"inputs {describe(xs)}",
            f"at least {need} axes, {axes} with {cell.feature_ndim} feature axes",
            "Add the missing axis, or use "
            + ("advance for one step." if time else "unroll for a sequence."),
        )


def check_input(cell: Any, x: Any) -> None:
    """The dtype a leaf cell is fed: tokens are integers, features are floats."""
    if cell.takes_tokens and not jnp.issubdtype(x.dtype, jnp.integer):
        raise error(
            TypeError,
            cell,
            f"inputs {describe(x)}",
            "integer tokens",
            "Pass token ids, e.g. tokens.astype(jnp.int32).",
        )
    if not cell.takes_tokens and not jnp.issubdtype(x.dtype, jnp.floating):
        raise error(
            TypeError,
            cell,
            f"inputs {describe(x)}",
            "floating features",
            "Cast with x.astype(jnp.float32), or put an Embed in front of it if these are tokens.",
        )


def check_params(cell: Any, params: Any, need: Any, x: Any) -> None:
    """Params against what `cell.init` would make for inputs like `x`, child by child, so that the
    message names the leaf.
    """
    if inner := getattr(cell, "params_of", None):  # transformed params are not checked here
        return check_params(inner, params, need, x)
    children = getattr(cell, "children", ())
    if children:
        check_children(cell, children, params, need)
        for child, part, needed in zip(
            children, cell.split(params), jax.eval_shape(cell.split, need), strict=True
        ):
            check_params(child, part, needed, x)
    elif cell.takes_memory and isinstance(params, dict) and "bound" not in params:
        raise not_bound(cell)
    needed, given = unbound(need), unbound(params)
    name = jax.tree_util.keystr
    missing, extra = (
        [name(p) for p in needed if p not in given],
        [name(p) for p in given if p not in needed],
    )
    if missing or extra:
        raise error(
            ValueError,
            cell,
            f"params with {', '.join(map(name, given)) or 'no leaves'}",
            f"{', '.join(map(name, needed)) or 'no leaves'}"
            + (f" (missing {', '.join(missing)})" if missing else "")
            + (f" (unknown {', '.join(extra)})" if extra else ""),
            "Are these the params of another cell? Make them with cell.init(key, x).",
        )
    for path, leaf in given.items():
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise error(
                TypeError,
                cell,
                f"params{name(path)} as a {type(leaf).__name__}",
                "an array",
                "Pass jnp.asarray of it.",
            )
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise error(
                TypeError,
                cell,
                f"params{name(path)} {describe(leaf)}",
                "a floating array",
                "Cast it with astype(jnp.float32).",
            )
        if not same_shape(leaf.shape, needed[path].shape):
            raise error(
                ValueError,
                cell,
                f"params{name(path)} {describe(leaf)} with inputs of {describe(x)}",
                f"params{name(path)} of shape {needed[path].shape} for such inputs",
                "Pass inputs with the feature size that the params were made for, "
                "or make params with cell.init(key, x).",
            )


def unbound(params: Any) -> dict[tuple, Any]:
    """The leaves by their paths, a bound memory's left out."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {
        path: leaf
        for path, leaf in leaves
        if not any(getattr(entry, "key", None) == "bound" for entry in path)
    }


def like(params: Any, need: Any) -> bool:
    """Whether params are floating arrays with the structure and the shapes of those needed."""
    if jax.tree.structure(params) != jax.tree.structure(need):
        return False
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(need), strict=True)
    return all(
        hasattr(a, "dtype")
        and jnp.issubdtype(a.dtype, jnp.floating)
        and same_shape(a.shape, b.shape)
        for a, b in pairs
    )


def check_children(cell: Any, children: tuple, params: Any, need: Any) -> None:
    keyed = isinstance(need, dict)
    if (
        type(params) is not type(need)
        or len(params) != len(need)
        or (keyed and params.keys() != need.keys())
    ):
        got = (
            f"params of {len(params)} parts"
            if isinstance(params, tuple)
            else f"params as a {type(params).__name__}"
        )
        parts = (
            f"with keys {', '.join(map(repr, need))}"
            if keyed
            else f"of {len(need)}, params for its {len(children)} children"
        )
        raise error(
            ValueError,
            cell,
            got,
            f"a {type(need).__name__} {parts}",
            "Are these the params of another cell? Make them with cell.init(key, x).",
        )
    for part, needed in zip(cell.split(params), jax.eval_shape(cell.split, need), strict=True):
        if isinstance(needed, dict) and not isinstance(part, dict):
            raise error(
                ValueError,
                cell,
                f"a child's params as a {type(part).__name__}",
                "a dict",
                "Make them with cell.init(key, x).",
            )


def check_state(cell: Any, state: Any, need: Any, source: str = "state") -> None:
    """A state against the structure, shapes and dtypes that `initial_state` gives."""
    do = {
        "state": "Make it with cell.initial_state(params, batch_shape), "
        "or take it from an earlier call with the same batch.",
        "guess": "Take it from the info of an earlier solve of as many steps with the same batch.",
        "coefficients": "Its b must be like the state, leaf by leaf, "
        "with a leading time axis where z has one (cast with astype).",
        "step": "A step must return the state it was given, "
        "with the same structure, shapes and dtypes (cast with astype).",
    }[source]
    if jax.tree.structure(state) != jax.tree.structure(need):
        raise error(
            ValueError,
            cell,
            f"a {source} {jax.tree.map(describe, state)}",
            f"{jax.tree.map(describe, need)}",
            do,
        )
    for got, want in zip(jax.tree.leaves(state), jax.tree.leaves(need), strict=True):
        if (
            not hasattr(got, "shape")
            or not same_shape(got.shape, want.shape)
            or got.dtype != want.dtype
        ):
            raise error(
                ValueError, cell, f"a {source} with a leaf {describe(got)}", describe(want), do
            )


def check_flags(cell: Any, name: str, flags: Any, shape: tuple[int, ...]) -> None:
    """A mask or resets: boolean, one flag for each step of each row."""
    check_array(cell, name, flags)
    if flags.dtype != jnp.bool_:
        raise error(
            TypeError,
            cell,
            f"{name} {describe(flags)}",
            "a boolean array",
            f"Pass {name}.astype(bool), true where "
            + ("a step counts." if name == "mask" else "a new sequence begins."),
        )
    if not same_shape(flags.shape, shape):
        raise error(
            ValueError,
            cell,
            f"{name} of shape {flags.shape}",
            f"{shape}: " + ("time, then batch" if len(shape) else "one flag"),
            f"Transpose it if the batch comes first, or pass jnp.broadcast_to({name}, {shape}).",
        )


def not_causal(cell: Any, verb: str) -> Exception:
    culprit = cell
    while culprit_child := next(
        (c for c in getattr(culprit, "children", ()) if not c.causal), None
    ):
        culprit = culprit_child
    where = (
        "a cell that looks ahead"
        if culprit is cell
        else f"a network that looks ahead, in {culprit!r}"
    )
    return error(
        ValueError,
        cell,
        f"{verb} of {where}: its output at t depends on the steps after t",
        "a causal network, since "
        + (
            "one step is given at a time"
            if verb == "advance"
            else f"{verb} cuts time into pieces and sees one at a time"
        ),
        "Use unroll over the whole sequence, "
        "or a cell that reads forward only in place of Bidirectional.",
    )


def child_runs(cell: Any, runs: list[int]) -> Exception:
    return error(
        ValueError,
        cell,
        f"a compose that ran its children {runs} times",
        "each child run exactly once",
        "Share weights by giving one child and reusing its output.",
    )


def not_a_leaf(cell: Any, inner: Any) -> Exception:
    return error(
        TypeError,
        type(cell).__name__,
        f"{inner!r}",
        "a single recurrent cell, since it changes that cell's step",
        f"Wrap the cells inside it: Stack(({type(cell).__name__}(a), {type(cell).__name__}(b))).",
    )


def wrong_strategy(cell: Any, strategy: Any, name: str = "strategy") -> Exception:
    return error(
        TypeError,
        cell,
        f"{name}={strategy!r}",
        "an instance of a strategy",
        "Pass Scan() or Chunked(1000).",
    )


def not_linear(strategy: Any, cell: Any) -> Exception:
    return error(
        TypeError,
        strategy,
        f"{cell!r}, whose step is not linear in its state",
        "a LinearCell (LRU, S5, MinGRU, ...)",
        "Say how other cells are run, Associative(fallback=Scan()), "
        "or use Scan() or Newton() for all.",
    )


def no_trajectory(cell: Any) -> Exception:
    return error(
        TypeError,
        cell,
        "a network or a layer without a loop",
        "one cell with a state",
        "Solve its recurrent cells one by one, or use unroll(..., strategy=Newton()).",
    )


def wrong_extra(cell: Any, leaf: Any, xs: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"extra with a leaf {describe(leaf)} and inputs {describe(xs)}",
        "the same time axis, axis 0, in both",
        "Pass targets with one entry for each step.",
    )


def check_cells(cell: Any, cells: Any, kind: type) -> None:
    """The children a combinator is made with."""
    if not isinstance(cells, tuple) or not cells or not all(isinstance(c, kind) for c in cells):
        raise error(
            TypeError,
            type(cell).__name__,
            f"{cells!r}",
            "a tuple of cells, at least one",
            "Write Stack((LSTM(8), Dense(4))).",
        )


def check_child(cell: Any, child: Any, kind: type) -> None:
    """The one child that a combinator is made with."""
    if not isinstance(child, kind):
        raise error(
            TypeError,
            type(cell).__name__,
            f"{child!r} as a cell",
            "a layer, an instance of jaxrnn.Layer",
            f"Write {type(cell).__name__}(LSTM(8), ...).",
        )


def unknown(cell: Any, name: str, got: Any, known: tuple) -> Exception:
    return error(
        ValueError,
        type(cell).__name__,
        f"{name}={got!r}",
        f"one of {', '.join(map(repr, known))}",
        f"Pass {name}={known[0]!r}.",
    )


def not_bound(cell: Any) -> Exception:
    return error(
        ValueError,
        cell,
        "params with no memory bound",
        "a memory to look at, [S, *batch, M]",
        "Bind it for the whole network: params = net.bind(params, memory, mask).",
    )


def check_memory(cell: Any, memory: Any, mask: Any, width: int) -> None:
    """A memory to be bound, `[S, *batch, M]`, and its mask."""
    check_array(cell, "a memory", memory)
    if not jnp.issubdtype(memory.dtype, jnp.floating):
        raise error(
            TypeError,
            cell,
            f"a memory {describe(memory)}",
            "floating features",
            "Bind an encoder's outputs.",
        )
    if memory.ndim < 2 or memory.shape[-1] != width:
        raise error(
            ValueError,
            cell,
            f"a memory {describe(memory)}",
            f"[S, *batch, {width}], since memory={width}",
            "Give memory= the width of what is bound: "
            "twice an encoder's hidden size after Bidirectional.",
        )
    if mask is not None:
        check_flags(cell, "mask", mask, memory.shape[:-1])


def memory_batch(cell: Any, memory: tuple[int, ...], batch: tuple[int, ...]) -> Exception:
    return error(
        ValueError,
        cell,
        f"a memory bound with batch axes {memory} and inputs with batch axes {batch}",
        "inputs whose batch begins with the memory's, or a memory without batch axes",
        "Bind a memory [S, *batch, M] for the same rows; beams come after the batch, [B, K].",
    )


def no_size(cell: Any) -> Exception:
    return error(
        ValueError,
        type(cell).__name__,
        f"size={cell.size} with score='multiplicative'",
        "size=None, since nothing is projected to it",
        "Leave size out, or pass score='additive'.",
    )


def no_room(cell: Any, inner: Any, z: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"{inner!r}, whose z is {jax.tree.map(describe, z)}",
        "a cell whose z is floating arrays [T, ..., Z], to which the context is added",
        f"Put noise around it, Zoneout({type(cell).__name__}(LSTM(8), ...), 0.1), "
        "or use Attention after it.",
    )


def no_state(net: Any) -> Exception:
    return error(
        ValueError,
        net,
        "an encoder without a state",
        "one whose last state the bridge can hand on",
        "Put a recurrent cell into the encoder, or pass bridge='none'.",
    )


def wrong_copy(net: Any, given: Any, need: Any) -> Exception:
    return error(
        ValueError,
        net,
        f"an encoder's state {jax.tree.map(describe, given)}",
        f"the decoder's arrays, {jax.tree.map(describe, need)}",
        "Give both the same recurrent cells, or pass bridge='dense'.",
    )


def wrong_net(net: Any, params: Any) -> Exception:
    got = (
        f"params with {', '.join(map(repr, params))}"
        if isinstance(params, dict)
        else f"params as a {type(params).__name__}"
    )
    return error(
        ValueError,
        net,
        got,
        "a dict of 'encoder', 'decoder' and 'bridge'",
        "Make them with net.init(key, source, target).",
    )


def unequal_widths(cell: Any, merge: str, forward: Any, backward: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"outputs {describe(forward)} forward and {describe(backward)} backward",
        f"equal shapes for merge={merge!r}",
        "Give both cells the same width, or merge='concat'.",
    )


def check_size(cell: Any, name: str, size: Any) -> None:
    if not isinstance(size, int) or isinstance(size, bool):
        raise error(TypeError, cell, f"{name}={size!r}", "an integer", f"Pass {name}=8, say.")
    if size < 1:
        raise error(
            ValueError, cell, f"{name}={size}", "a positive integer", f"Pass {name}=8, say."
        )


def check_range(cell: Any, name: str, number: Any, low: float, high: float) -> None:
    """A number in the half-open interval (low, high]."""
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        raise error(
            TypeError,
            cell,
            f"{name} as a {type(number).__name__}",
            "a float: fields are static",
            f"Pass {name}={high}, and put an array into the params.",
        )
    if not low < number <= high:
        raise error(
            ValueError,
            cell,
            f"{name}={number}",
            f"a number above {low} and up to {high}",
            f"Pass {name}={high}, say.",
        )


def check_activation(cell: Any, name: Any) -> None:
    if not isinstance(name, str) or not callable(getattr(jax.nn, name, None)):
        raise error(
            ValueError,
            cell,
            f"activation={name!r}",
            "the name of a function in jax.nn",
            'Pass activation="tanh".',
        )


def check_ridge(xs: Any, targets: Any) -> None:
    for name, x in (("xs", xs), ("targets", targets)):
        check_array("ridge", name, x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise error(
                TypeError,
                "ridge",
                f"{name} {describe(x)}",
                "floating numbers",
                f"Cast with {name}.astype(jnp.float32).",
            )
    if xs.ndim < 2 or xs.shape[:-1] != targets.shape[:-1]:
        raise error(
            ValueError,
            "ridge",
            f"xs {describe(xs)} and targets {describe(targets)}",
            "[T, ..., F] and [T, ..., G] with the same leading axes",
            "Pass a target vector for each step; a single number a step is targets[..., None].",
        )


def not_convertible(module: Any, got: str, need: str, do: str) -> Exception:
    """A module of another library, or a cell of ours, that has no counterpart."""
    return error(ValueError, module, got, need, do)


def check_rate(cell: Any, name: str, rate: Any) -> None:
    """A probability of dropping or keeping: a number in [0, 1)."""
    if not isinstance(rate, (int, float)) or isinstance(rate, bool):
        raise error(
            TypeError,
            cell,
            f"{name} as a {type(rate).__name__}",
            "a float: fields are static",
            f"Pass {name}=0.1, say.",
        )
    if not 0 <= rate < 1:
        raise error(
            ValueError,
            cell,
            f"{name}={rate}",
            "a number from 0 up to, but not, 1",
            f"Pass {name}=0.1, say; 0 turns it off.",
        )


def check_eps(cell: Any, eps: Any) -> None:
    if not isinstance(eps, float) or not eps > 0:
        raise error(ValueError, cell, f"eps={eps!r}", "a positive float", "Pass eps=1e-5, say.")


def residual_width(cell: Any, inner: Any, x: Any, y: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"inputs {describe(x)} and outputs {describe(y)} of {inner!r}",
        "outputs shaped like the inputs, since both are added",
        "Give the cell the width of its inputs, "
        "or put a Dense after it: Residual(Stack((cell, Dense(width)))).",
    )


def tied_width(cell: Any, body: Any, y: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"outputs {describe(y)} of its body {body!r}",
        f"outputs {cell.width} wide, as the embedding is",
        f"Put a Dense({cell.width}) after the body: Stack((body, Dense({cell.width}))).",
    )


def no_dot(cell: Any, inner: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"{inner!r}, whose step has no recurrent matmul to drop from",
        "a cell whose step calls dot",
        "Use Zoneout on it, or a Dropout before or after it; "
        'in a cell of your own write dot(h, "w_h") for h @ params["w_h"].',
    )


def zoneout_rates(cell: Any, rates: int, state: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"{rates} rates for a state {jax.tree.map(describe, state)}",
        "a state with arrays, and one rate for all or one for each",
        f"Pass one number, or a tuple of {len(jax.tree.leaves(state))}.",
    )


def depthwise_width(cell: Any, x: Any) -> Exception:
    return error(
        ValueError,
        cell,
        f"inputs {describe(x)} for a depthwise convolution of width {cell.width}",
        "as many features as the width, since each is convolved by itself",
        f"Use CausalConv({x.shape[-1]}, {cell.kernel}, depthwise=True), or depthwise=False.",
    )


def check_product(path: tuple, name: Any, x: Any, w: Any, cuts: tuple[int, ...]) -> None:
    """What `dot(x, name)` multiplies."""
    here = _call("dot(x, {})", path, name)
    for part, a in (("an x", x), (f"{name!r}", w)):
        if not (hasattr(a, "ndim") and hasattr(a, "dtype")):
            raise error(TypeError, here, f"{part} that is a {type(a).__name__}", "an array", _INDEX)
    if w.ndim != 2:
        do = "Add a vector with dot.add(z, name)." if w.ndim == 1 else "Use jnp.einsum for it."
        raise error(ValueError, here, describe(w), "a matrix [F, G]", do)
    if x.ndim < 1 or x.shape[-1] != w.shape[0]:
        got = f"x {describe(x)} and {describe(w)}"
        do = "Look at which weight this input belongs to."
        raise error(ValueError, here, got, "x [..., F] and w [F, G]", do)
    if list(cuts) != sorted(set(cuts)) or any(not 0 < c < w.shape[1] for c in cuts):
        need = f"rising columns between 0 and {w.shape[1]}"
        raise error(
            ValueError, here, f"cuts {cuts}", need, "Cut before the first column of a block."
        )


def check_bias(path: tuple, name: Any, z: Any, b: Any, start: int) -> None:
    """What `dot.add(z, name, start)` adds."""
    here = _call("dot.add(z, {})", path, name)
    if not (hasattr(b, "ndim") and hasattr(b, "dtype")):
        raise error(TypeError, here, f"a {type(b).__name__}", "an array", _INDEX)
    if b.ndim != 1 or b.shape[0] < start + z.shape[-1]:
        got, need = (
            f"z {describe(z)} and {describe(b)}",
            f"a bias [{start + z.shape[-1]}] or longer",
        )
        raise error(ValueError, here, got, need, "Look at which bias belongs to this z.")


def no_param(path: tuple, name: Any, params: Any) -> Exception:
    """A name under which there is no param."""
    known = _names(params)
    got = f"no param {name!r} in a {type(params).__name__}"
    do = "Name one of them, or pass the matrix itself: dot(x, w)."
    kind = IndexError if isinstance(params, tuple | list) else KeyError
    return error(kind, _call("dot", path, name), got, f"one of {known}", do)


_INDEX = "Name a leaf of the params; dot[key] goes one level down."


def _names(params: Any) -> str:
    try:
        keys = list(params.keys()) if hasattr(params, "keys") else list(range(len(params)))
    except TypeError:
        return "what it can be indexed with"
    return ", ".join(map(repr, keys))


def _call(form: str, path: tuple, name: Any) -> str:
    label = describe(name) if hasattr(name, "ndim") else repr(name)
    prefix = "".join(f"[{key!r}]" for key in path)
    return form.format(label).replace("dot", f"dot{prefix}", 1)

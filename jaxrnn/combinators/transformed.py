"""A cell whose weights are a function of what is trained."""

from collections.abc import Callable
from typing import Any

import jax

from jaxrnn import errors
from jaxrnn.cell import Params, State
from jaxrnn.combinators.attention_memory import Bound
from jaxrnn.combinators.transforms import WeightDrop
from jaxrnn.composite import Child, Composite
from jaxrnn.layer import Layer


class TransformedWeights(Composite):
    """A cell run with transformed params; the raw ones are trained.

        y = cell(x) with the params transform(raw)

    The gradient flows through the transform to the raw params. The transform is applied outside the
    loop over time: once a sequence, in `advance` once a call, and under `Chunked` at most once a
    chunk, and again where that is recomputed. Where it is expensive, transform the params first and
    run the cell inside: `unroll(net.cell, net.transformed(params), xs, strategy=Chunked(100))`.

    Several transforms are nested: in `TransformedWeights(TransformedWeights(cell, f), g)` the cell
    has the weights `f(g(raw))`. What `bind` puts beside the params is not transformed.

    Params: the cell's own, raw. State: the one-tuple of the cell's.

    Args:
      cell: any cell, composites too.
      transform: a function of params to params of the same structure, shapes and dtypes: `Dale`,
        `Masked`, `SpectralNorm`, or your own. It is static: define a function once, since a new one
        is traced anew; its settings belong in the fields of a frozen dataclass.

    Raises:
      TypeError: unless `cell` is a cell and `transform` a function that hashes; for `WeightDrop`,
        which takes a key.
      ValueError: in `init` and while tracing, where the transformed params are of another kind.

    Example:
      >>> cell = TransformedWeights(Elman(8, "relu"), Dale(0.8))
      >>> params = cell.init(jax.random.key(0), features(3))
      >>> state, ys = unroll(cell, params, jnp.ones((5, 3)))
      >>> ys.shape
      (5, 8)

    Called `nn.utils.parametrize` in PyTorch.

    Salimans & Kingma 2016, for weights that are trained as functions of others.
    """

    cell: Layer
    transform: Callable[[Params], Params]

    def __post_init__(self) -> None:
        errors.check_child(self, self.cell, Layer)
        if isinstance(self.transform, WeightDrop):
            raise errors.takes_a_key(self, self.transform)
        errors.check_static_function(self, "transform", self.transform)

    @property
    def children(self) -> tuple[Layer, ...]:
        return (self.cell,)

    @property
    def params_of(self) -> Layer:
        """The cell whose `init` gives the params."""
        return self.cell

    def transformed(self, params: Params) -> Params:
        """The params that the cell inside is run with.

        Example:
          >>> cell = TransformedWeights(GRU(8), SpectralNorm(0.5))
          >>> params = cell.init(jax.random.key(0), features(3))
          >>> state, ys = unroll(cell.cell, cell.transformed(params), jnp.ones((5, 3)))
        """
        # A bound memory was computed with transformed weights already.
        raw = jax.tree.map(lambda a: None if is_bound(a) else a, params, is_leaf=is_bound)
        made = self.transform(raw)
        errors.check_transformed(self, made, raw)
        return jax.tree.map(lambda a, b: a if is_bound(a) else b, params, made, is_leaf=is_bound)

    def split(self, params: Params) -> tuple[Params, ...]:
        return (self.transformed(params),)

    def init(self, key: jax.Array, x: Any) -> Params:
        params = self.cell.init(key, x)
        jax.eval_shape(self.transformed, params)  # a transform that does not fit is refused at once
        return params

    def bind(self, params: Params, memory: Any, mask: Any = None) -> Params:
        if not self.takes_memory:
            return params
        bound = self.cell.bind(self.transformed(params), memory, mask)
        raw = errors.unbound(params)
        return jax.tree_util.tree_map_with_path(lambda path, a: raw.get(path, a), bound)

    def initial_state(self, params: Params, batch_shape: tuple[int, ...] = ()) -> State:
        return (self.cell.initial_state(self.transformed(params), batch_shape),)

    def compose(self, params: Params, x: Any, child: Child) -> Any:
        return child(0, x)


def is_bound(node: Any) -> bool:
    """Whether a node of the params is a bound memory."""
    return isinstance(node, Bound)

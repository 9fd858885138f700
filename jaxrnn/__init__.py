"""jaxrnn."""

__version__ = "0.1.0"

from jaxrnn.cell import TOKEN, Cell, Composite, Feedforward, LinearCell, advance, features, trainable
from jaxrnn.cells import *
from jaxrnn.combinators import *
from jaxrnn.controls import lengths_to_mask
from jaxrnn.strategies import *
from jaxrnn.unroll import fold, unroll

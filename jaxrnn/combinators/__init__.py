"""Cells made of cells, and the layers between them."""

from jaxrnn.combinators.bidirectional import Bidirectional as Bidirectional
from jaxrnn.combinators.feedforward import Dense as Dense
from jaxrnn.combinators.feedforward import Embed as Embed
from jaxrnn.combinators.stack import Stack as Stack

"""How a whole sequence of steps is evaluated: one strategy a file."""

from jaxrnn.strategies.chunked import Chunked as Chunked
from jaxrnn.strategies.scan import Scan as Scan
from jaxrnn.strategies.strategy import Strategy as Strategy

"""How a whole sequence of steps is evaluated: one strategy a file."""

from jaxrnn.strategies.associative import Associative as Associative
from jaxrnn.strategies.auto import Auto as Auto
from jaxrnn.strategies.chunked import Chunked as Chunked
from jaxrnn.strategies.fused import Fused as Fused
from jaxrnn.strategies.newton import Newton as Newton
from jaxrnn.strategies.scan import Scan as Scan
from jaxrnn.strategies.strategy import Strategy as Strategy
from jaxrnn.strategies.wavefront import Wavefront as Wavefront

"""Whole models: what stands around the cells for a shape of sequence problem."""

from jaxrnn.models.encoder_decoder import EncoderDecoder as EncoderDecoder
from jaxrnn.models.encoder_decoder import Pairs as Pairs
from jaxrnn.models.pooled import Pooled as Pooled
from jaxrnn.models.written import written as written

"""Whole models around cells: from sequence to sequence, and from a sequence to one answer."""

from jaxrnn.models.encoder_decoder import EncoderDecoder as EncoderDecoder
from jaxrnn.models.encoder_decoder import Seq2SeqBatch as Seq2SeqBatch
from jaxrnn.models.generate import generate as generate
from jaxrnn.models.pooled import Pooled as Pooled

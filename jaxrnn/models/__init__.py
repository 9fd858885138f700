"""Whole models: what stands around the cells for a shape of sequence problem."""

from jaxrnn.models.encoder_decoder import EncoderDecoder as EncoderDecoder
from jaxrnn.models.encoder_decoder import Seq2SeqBatch as Seq2SeqBatch
from jaxrnn.models.generate import generate as generate
from jaxrnn.models.pooled import Pooled as Pooled

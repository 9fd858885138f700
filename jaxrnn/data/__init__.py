"""Data for recurrent nets: batches, long streams cut into segments, ragged rows in padded buckets,
and text.

A source of batches is a function of the step alone, `batches(step) -> batch`. So a resumed run sees
what an uninterrupted one would have seen, and there is no state of an iterator to save.
"""

from jaxrnn.data.buckets import Buckets as Buckets
from jaxrnn.data.buckets import Padded as Padded
from jaxrnn.data.buckets import pad as pad
from jaxrnn.data.placing import place as place
from jaxrnn.data.streams import Batch as Batch
from jaxrnn.data.streams import Segments as Segments
from jaxrnn.data.streams import stream as stream
from jaxrnn.data.text import Bytes as Bytes
from jaxrnn.data.text import Vocabulary as Vocabulary
from jaxrnn.data.text import read_bytes as read_bytes
from jaxrnn.data.text import read_lines as read_lines
from jaxrnn.data.text import read_text as read_text
from jaxrnn.data.text import words as words

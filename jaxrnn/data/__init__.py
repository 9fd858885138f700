"""What a recurrent net is trained on: batches, long streams cut into segments, ragged rows in padded buckets, and text.

A source of batches is a function of the step alone, `batches(step) -> batch`, so that a run resumed at a step sees what an
uninterrupted one would have seen, and no iterator has a state to save.
"""

from jaxrnn.data.buckets import Buckets as Buckets
from jaxrnn.data.buckets import Padded as Padded
from jaxrnn.data.buckets import pad as pad
from jaxrnn.data.catalogues import Catalogue as Catalogue
from jaxrnn.data.catalogues import catalogue as catalogue
from jaxrnn.data.catalogues import catalogue_languages as catalogue_languages
from jaxrnn.data.catalogues import plain as plain
from jaxrnn.data.digits import digit_halves as digit_halves
from jaxrnn.data.digits import digits as digits
from jaxrnn.data.scores import SCORES as SCORES
from jaxrnn.data.scores import Note as Note
from jaxrnn.data.scores import Part as Part
from jaxrnn.data.scores import midi as midi
from jaxrnn.data.scores import read_score as read_score
from jaxrnn.data.streams import Batch as Batch
from jaxrnn.data.streams import Segments as Segments
from jaxrnn.data.streams import stream as stream
from jaxrnn.data.text import Bytes as Bytes
from jaxrnn.data.text import Vocabulary as Vocabulary
from jaxrnn.data.text import compressors as compressors
from jaxrnn.data.text import python_files as python_files
from jaxrnn.data.text import python_source as python_source
from jaxrnn.data.text import read_bytes as read_bytes
from jaxrnn.data.text import read_lines as read_lines
from jaxrnn.data.text import read_text as read_text
from jaxrnn.data.text import words as words

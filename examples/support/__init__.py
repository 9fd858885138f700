"""What the examples share beside the library: their command line, and the data they read.

experiments   options, seeds that resume, a record of what was reached, a figure
catalogues    message catalogues, English beside other languages
corpus        the source of Python's own standard library, and what a compressor makes of it
digits        the handwritten digits that scikit-learn carries
scores        the notes of a MusicXML score, and MIDI files
serving       a character model for many clients at once, and clients that try it
"""

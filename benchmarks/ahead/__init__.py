"""What a program becomes on a card that is not here: compiled for it, never run.

The compilers of a GPU and of a TPU are packages and need no device. They say what a program
launches in every time step, what memory it needs beside its arguments, and what its devices
exchange. They say nothing of its speed.
"""

from benchmarks.ahead.compilers import TARGETS as TARGETS
from benchmarks.ahead.compilers import compile_for as compile_for
from benchmarks.ahead.program import report as report

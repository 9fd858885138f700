"""Weights from other libraries, and back: `from jaxrnn.interop.torch import from_torch`, imported
only on request.
"""

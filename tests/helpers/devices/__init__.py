"""Checks on eight virtual CPU devices; `__main__.py` runs them."""

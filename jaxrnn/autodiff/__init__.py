"""Derivatives that are written out: loops, and what they are made of."""

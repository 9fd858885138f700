"""Loops that are one kernel of an accelerator, which `Fused` asks for."""

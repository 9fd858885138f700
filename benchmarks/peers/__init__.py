"""The libraries, one a file, each imported in a process of its own: `build(case) -> Program`, or None where the library cannot do it."""

PEERS = ("jaxrnn", "plain", "torch", "linen", "nnx", "haiku", "equinox", "keras")

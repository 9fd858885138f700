"""The libraries, one a file, each imported in a process of its own: `build(case) -> Program` for
layers, `other(case)` for other work; None where the library cannot do it."""

LAYERS = ("layer",)
PEERS = {  # what each is measured at
    "jaxrnn": ("layer", "sampling", "training", "ensemble", "population", "recurrence"),
    "plain": ("layer", "sampling", "training", "ensemble", "population", "recurrence"),
    "torch": ("layer", "sampling", "training", "ensemble", "population"),
    "linen": LAYERS,
    "nnx": LAYERS,
    "haiku": LAYERS,
    "equinox": LAYERS,
    "keras": LAYERS,
    "associative": ("recurrence",),
    "cudnn": LAYERS,
}
GPU_ONLY = {"cudnn"}
STRATEGIES = (
    "auto",
    "chunked",
    "fused",
    "kept",
)  # of this library: "jaxrnn chunked" is a peer of its own


def works(peer: str) -> tuple[str, ...]:
    return LAYERS if " " in peer else PEERS[peer]

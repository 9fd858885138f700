"""What strategies refuse."""

from typing import Any

from jaxrnn.errors.message import error


def wrong_strategy(cell: Any, strategy: Any, name: str = "strategy") -> Exception:
    return error(
        TypeError,
        cell,
        f"{name}={strategy!r}",
        "an instance of a strategy",
        "Pass Scan() or Chunked(1000).",
    )


def levels_without_remat(strategy: Any) -> Exception:
    need = "remat=True, since levels say how often a chunk is computed again"
    do = "Leave remat out, or levels."
    got = f"levels={strategy.levels} and remat=False"
    return error(ValueError, strategy, got, need, do)


def not_linear(strategy: Any, cell: Any) -> Exception:
    return error(
        TypeError,
        strategy,
        f"{cell!r}, whose step is not linear in its state",
        "a LinearCell (LRU, S5, MinGRU, ...)",
        "Say how other cells are run, Associative(fallback=Scan()), "
        "or use Scan() or Newton() for all.",
    )


def no_trajectory(cell: Any) -> Exception:
    return error(
        TypeError,
        cell,
        "a network or a layer without a loop",
        "one cell with a state",
        "Solve its recurrent cells one by one, or use unroll(..., strategy=Newton()).",
    )


def not_newton(cell: Any, strategy: Any) -> Exception:
    do = "Pass Newton(), or use unroll for another strategy."
    return error(TypeError, cell, f"strategy={strategy!r}", "a Newton", do)


def check_platform(strategy: Any, platform: Any, known: Any) -> None:
    """A platform that there are kernels for."""
    if not isinstance(platform, str) or platform not in known:
        need = " or ".join(f'"{name}"' for name in known)
        do = "On a CPU Fused is Scan."
        raise error(ValueError, strategy, f"platform={platform!r}", need, do)

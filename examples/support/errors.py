"""What the examples refuse: got, need, do this."""

from typing import Any

from jaxrnn.errors import error
from jaxrnn.errors import missing_package as missing_package


def no_catalogue(language: str, known: list[str], roots: Any) -> Exception:
    where = ", ".join(map(str, roots)) or "the system's folder and an installed Django"
    return error(
        ValueError,
        "catalogue",
        f"the language {language!r}, of which {where} holds no message catalogue",
        f"one of {', '.join(known)}" if known else "message catalogues",
        "pip install django brings some of ninety languages.",
    )


def wrong_columns(path: Any, got: int, need: str) -> Exception:
    return error(
        ValueError,
        str(path),
        f"lines of {got} numbers",
        need,
        "Give a file whose lines look like that.",
    )


def few_digits(path: Any, got: int, kinds: int) -> Exception:
    return error(
        ValueError,
        str(path),
        f"{got} digits, {kinds} classes in their first half",
        "at least 20 digits and two classes",
        "Give more.",
    )


def damaged_json(path: Any) -> Exception:
    return error(
        ValueError,
        str(path),
        "a damaged file",
        "the JSON that was written",
        "Remove it, or give another --out.",
    )

"""What griffe, which reads the source without running it, must be told about jaxrnn's classes and
docstrings.
"""

import re
from collections.abc import Iterator

import griffe

SECTION = re.compile(r"^(Args|Raises):\n((?: +.*\n?)+)", re.MULTILINE)
SEVERAL = re.compile(r"^( *)(\w+(?:, \w+)+):(?= )", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Constructors made from fields, and Google's sections as this library writes them."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """`Example:` is a section of doctests, and `a, b: text` is about each of its names."""
        if obj.docstring:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = SECTION.sub(one_by_one, text)

    def on_package(self, *, pkg: griffe.Module, **kwargs: object) -> None:
        """Layers, strategies and all else that `frozen` makes are dataclasses to griffe too."""
        for found in classes(pkg):
            if made_from_fields(found):
                decorator = griffe.ExprName("dataclasses.dataclass")
                found.decorators.append(griffe.Decorator(decorator, lineno=None, endlineno=None))


def one_by_one(section: re.Match) -> str:
    """A section of arguments with a line for each of them; one of errors with alternatives."""
    if section[1] == "Raises":
        return SEVERAL.sub(lambda match: match[0].replace(", ", " | "), section[0])
    lines = re.split(r"^(?=  \S)", section[2], flags=re.MULTILINE)
    for i, line in enumerate(lines):
        if match := SEVERAL.match(line):
            first, *others = match[2].split(", ")
            lines[i] = f"{match[1]}{first}:{line[match.end() :].rstrip()}\n"
            lines[i] += "".join(f"{match[1]}{name}: as `{first}`.\n" for name in others)
    return f"Args:\n{''.join(lines)}"


def classes(parent: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    """Every class in a package, and those within classes."""
    for member in parent.members.values():
        if not member.is_alias and (member.is_module or member.is_class):
            if member.is_class:
                yield member
            yield from classes(member)


def made_from_fields(found: griffe.Class) -> bool:
    """Whether a class is a named tuple, or is made a dataclass by `frozen` or by linen."""
    if any(str(base) in ("NamedTuple", "linen.Module") for base in found.bases):
        return True
    try:
        lineage = [found, *found.mro()]
    except ValueError:
        return False
    return any(str(d.value).split("(")[0] == "frozen" for c in lineage for d in c.decorators)

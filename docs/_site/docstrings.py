"""What griffe, which reads the source without running it, must be told about jaxrnn's classes and
docstrings.
"""

import re

import griffe

ARGUMENTS = re.compile(r"^( *)(\w+(?:, \w+)+): (.*(?:\n\1 +\S.*)*)$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Constructors made from fields, and Google's sections as this library writes them."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """`Example:` is a section of doctests; `a, b: text` is a line for each argument."""
        if obj.docstring:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            head, mark, rest = text.partition("Args:\n")
            arguments, *others = re.split(r"(\n\n)", rest, maxsplit=1)
            arguments = ARGUMENTS.sub(one_by_one, arguments)
            obj.docstring.value = head + mark + arguments + "".join(others)

    def on_package(self, *, pkg: griffe.Module, **kwargs: object) -> None:
        """Layers, strategies and all else that `frozen` makes are dataclasses to griffe too."""
        for found in classes(pkg):
            if made_from_fields(found):
                decorator = griffe.ExprName("dataclasses.dataclass")
                found.decorators.append(griffe.Decorator(decorator, lineno=None, endlineno=None))


def one_by_one(match: re.Match) -> str:
    indent, names, text = match.groups()
    first, *others = names.split(", ")
    return "\n".join(
        [f"{indent}{first}: {text}", *(f"{indent}{name}: as `{first}`." for name in others)]
    )


def classes(parent: griffe.Module | griffe.Class):
    for member in parent.members.values():
        if not member.is_alias and (member.is_module or member.is_class):
            if member.is_class:
                yield member
            yield from classes(member)


def made_from_fields(found: griffe.Class) -> bool:
    if any(str(base) in ("NamedTuple", "linen.Module") for base in found.bases):
        return True
    try:
        lineage = [found, *found.mro()]
    except ValueError:
        return False
    return any(str(d.value).split("(")[0] == "frozen" for c in lineage for d in c.decorators)

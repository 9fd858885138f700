"""What a layer of Keras says of itself, read without trust: every value is checked before it is
used, and nothing is made by the names in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from jaxrnn import errors


def gelu(x: jax.Array) -> jax.Array:
    """Keras's, which is exact where JAX's is its approximation."""
    return jax.nn.gelu(x, approximate=False)


def leaky_relu(x: jax.Array) -> jax.Array:
    """Keras's, whose slope is 0.2 where JAX's is 0.01."""
    return jax.nn.leaky_relu(x, 0.2)


# Keras's name of an activation, and ours: those of each number by itself.
ACTIVATIONS: dict[str, Any] = {
    "linear": "identity",
    "softsign": "soft_sign",
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    **{
        name: name
        for name in (
            *("celu", "elu", "hard_sigmoid", "hard_silu", "hard_tanh", "log_sigmoid", "mish"),
            *("relu", "relu6", "selu", "sigmoid", "silu", "softplus", "sparse_plus"),
            *("sparse_sigmoid", "squareplus", "tanh"),
        )
    },
}
# Those of all features of a step.
OF_DENSE = ACTIVATIONS | {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}
ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}


class Said(NamedTuple):
    """The class of a layer of Keras and its configuration; `who` is the call or the file that
    errors name.
    """

    who: str
    kind: str
    fields: dict[str, Any]

    @property
    def label(self) -> str:
        return f"the {self.kind} {errors.short(self.fields.get('name', ''))!r}"

    def refuse(self, name: str, need: str, do: str) -> Exception:
        got = f"{self.label} with {name}={errors.short(repr(self.fields.get(name)))}"
        return errors.not_convertible(self.who, got, need, do)

    def size(self, name: str) -> int:
        value = self.fields.get(name)
        if type(value) is not int or value < 1:
            raise self.refuse(name, "a positive integer", DAMAGED)
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.fields.get(name, default)
        if type(value) is not bool:
            raise self.refuse(name, "True or False", DAMAGED)
        return value

    def rate(self, name: str) -> float:
        value = self.fields.get(name, 0.0)
        if type(value) not in (int, float) or not 0 <= value < 1:
            raise self.refuse(name, "a rate from 0 to below 1", DAMAGED)
        return value

    def eps(self, name: str) -> float:
        value = self.fields.get(name, 1e-3)
        if type(value) is not float or not 0 < value < float("inf"):
            raise self.refuse(name, "a positive number", DAMAGED)
        return value

    def activation(self, table: dict[str, Any]) -> Any:
        """Our name, or function, for the field of that name."""
        name = self.fields.get("activation", "linear")
        name = ALIASES.get(name, name) if isinstance(name, str) else None
        if name not in table:
            do = "Write a cell of your own, and copy the weights."
            raise self.refuse("activation", f"one of {', '.join(sorted(table))}", do)
        return table[name]

    def only(self, name: str, values: tuple[Any, ...], do: str) -> None:
        """Refuse any other value than these, of which the first is what a missing one means."""
        value = self.fields.get(name, values[0])
        if not any(value == one and type(value) is type(one) for one in values):
            raise self.refuse(name, " or ".join(map(repr, values)), do)


DAMAGED = "Is the file damaged, or of another version of Keras?"


def said(who: str, config: Any) -> Said:
    """The class and the fields of a layer's configuration as Keras writes it."""
    match config:
        case {"class_name": str(kind), "config": dict(fields), "module": "keras" | "keras.layers"}:
            return Said(who, kind, fields)
        case {"class_name": str(kind), "config": dict(), "module": module}:
            got = f"a {errors.short(kind)} of the module {errors.short(module)}"
            need, do = "a layer of Keras's own", "Convert the layers within it one by one."
            raise errors.not_convertible(who, got, need, do)
    raise errors.not_convertible(
        who,
        f"the configuration of a layer as {errors.short(config)}",
        "a class_name, a config and a module, as Keras 3 writes them",
        "Save the model with Keras 3: model.save('net.keras').",
    )

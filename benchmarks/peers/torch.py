"""torch.nn.LSTM, GRU and RNN: oneDNN or its own kernels on a CPU, cuDNN on a GPU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from benchmarks.cases import CHARACTERS, GATES, Case
from benchmarks.peers.jaxrnn import network, parameters
from benchmarks.peers.work import ADAM
from jaxrnn.interop.torch import to_torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# Of cuDNN's algorithms torch chooses a persistent one for float16 alone,
# as its documentation of nn.LSTM says.
FACTS = (
    {"threads": torch.get_num_threads()}
    if DEVICE.type == "cpu"
    else {"algorithm": f"cuDNN {torch.backends.cudnn.version()}, standard"}
)


def waited(result: Any) -> Any:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return result


class Program:
    def __init__(self, case: Case):
        self.cell, self.facts = case.cell, FACTS
        self.net = to_torch(network(case), jax.tree.map(jnp.asarray, parameters(case))).to(DEVICE)
        self.suffixes = [
            f"l{k}{end}"
            for k in range(case.layers)
            for end in (("", "_reverse") if case.both else ("",))
        ]
        self.xs = torch.from_numpy(case.inputs()).to(DEVICE).requires_grad_()
        self.lengths = torch.from_numpy(case.lengths()).to(torch.int64) if case.ragged else None

    def loss(self) -> torch.Tensor:
        if self.lengths is None:
            return self.net(self.xs)[0].square().mean()
        ys = self.net(nn.utils.rnn.pack_padded_sequence(self.xs, self.lengths))[0]
        return nn.utils.rnn.pad_packed_sequence(ys, total_length=len(self.xs))[0].square().mean()

    def run(self, name: str) -> Any:
        if name == "forward":
            with torch.no_grad():
                result = self.loss()
        else:
            loss = self.loss()
            result = loss, torch.autograd.grad(loss, (self.xs, *self.net.parameters()))
        return waited(result)

    def results(self) -> dict[str, np.ndarray]:
        loss, (dxs, *grads) = self.run("gradient")
        named = dict(zip([name for name, _ in self.net.named_parameters()], grads, strict=True))
        found = {"loss": loss.detach(), "dxs": dxs}
        for k, suffix in enumerate(self.suffixes):
            found |= {
                f"w_x {k}": named[f"weight_ih_{suffix}"].T,
                f"w_h {k}": named[f"weight_hh_{suffix}"].T,
            }
        return {name: value.cpu().numpy() for name, value in found.items()}


class Net(nn.Module):
    """Characters in, logits out."""

    def __init__(self, case: Case):
        super().__init__()
        given = {name: torch.from_numpy(value) for name, value in case.net().items()}
        self.embed = nn.Embedding.from_pretrained(given["embed"], freeze=False)
        self.cell = to_torch(network(case), jax.tree.map(jnp.asarray, parameters(case)))
        self.head = nn.Linear(case.hidden, CHARACTERS)
        with torch.no_grad():
            self.head.weight.copy_(given["head"].T)
            self.head.bias.zero_()

    def forward(self, text: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        ys, state = self.cell(self.embed(text), state)
        return self.head(ys), state


class Sampling:
    def __init__(self, case: Case):
        self.cell, self.facts, self.case, self.net = case.cell, FACTS, case, Net(case).to(DEVICE)

    def run(self, name: str) -> list[torch.Tensor]:
        token, state, written = torch.zeros((1, 1), dtype=torch.int64, device=DEVICE), None, []
        with torch.inference_mode():
            for _ in range(self.case.steps):
                logits, state = self.net(token, state)
                token = logits.argmax(-1)
                written.append(token)
        return waited(written)

    def results(self) -> dict[str, np.ndarray]:
        return {
            "characters": torch.cat(self.run("forward")).reshape(-1).to(torch.float32).cpu().numpy()
        }


class Training:
    def __init__(self, case: Case):
        self.cell, self.facts, self.net = case.cell, FACTS, Net(case).to(DEVICE)
        self.text = torch.from_numpy(case.text()).to(DEVICE, torch.int64)
        self.rule = torch.optim.Adam(self.net.parameters(), ADAM)
        # Its second bias is trained where the others have one: a GRU's candidate.
        trained = (
            torch.arange(GATES[case.cell] * case.hidden, device=DEVICE)
            >= (2 if case.cell == "gru" else 4) * case.hidden
        )
        self.net.cell.bias_hh_l0.register_hook(lambda grad: grad * trained)

    def run(self, name: str) -> torch.Tensor:
        logits = self.net(self.text[:-1])[0]
        loss = nn.functional.cross_entropy(
            logits.reshape(-1, CHARACTERS), self.text[1:].reshape(-1)
        )
        self.rule.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.rule.step()
        return waited(loss)

    def results(self) -> dict[str, np.ndarray]:
        return {
            name: self.run("gradient").detach().cpu().numpy() for name in ("loss", "loss after")
        }


class Ensemble:
    """Members with weights of their own, one after the other."""

    def __init__(self, case: Case):
        self.cell, self.facts = case.cell, FACTS
        self.nets = [
            to_torch(network(case), jax.tree.map(jnp.asarray, weights)).to(DEVICE)
            for weights in case.weights()
        ]
        self.xs = torch.from_numpy(case.inputs()).to(DEVICE)

    def run(self, name: str) -> Any:
        if name == "forward":
            with torch.no_grad():
                return waited(torch.stack([net(self.xs)[0] for net in self.nets]).square().mean())
        loss = torch.stack([net(self.xs)[0] for net in self.nets]).square().mean()
        return waited(
            (loss, torch.autograd.grad(loss, [p for net in self.nets for p in net.parameters()]))
        )

    def results(self) -> dict[str, np.ndarray]:
        loss, grads = self.run("gradient")
        names = [(name, k) for k, net in enumerate(self.nets) for name, _ in net.named_parameters()]
        found = dict(zip(names, grads, strict=True))
        pick = {"w_x": "weight_ih_l0", "w_h": "weight_hh_l0"}
        stacked = {
            ours: torch.stack([found[theirs, k].T for k in range(len(self.nets))]).cpu().numpy()
            for ours, theirs in pick.items()
        }
        return {"loss": loss.detach().cpu().numpy()} | stacked


def build(case: Case) -> Program | None:
    return Program(case)


def other(case: Case) -> Any:
    one_by_one = Ensemble if case.over == "params" else None
    made = {
        "sampling": Sampling,
        "training": Training,
        "ensemble": Ensemble,
        "population": one_by_one,
    }.get(case.work)
    return made and made(case)

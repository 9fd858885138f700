"""torch.nn.LSTM, GRU and RNN: oneDNN or its own kernels on a CPU, cuDNN on a GPU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from benchmarks.cases import Case
from benchmarks.peers.jaxrnn import network, parameters
from jaxrnn.interop.torch import to_torch


class Program:
    def __init__(self, case: Case):
        self.cell, self.facts = case.cell, {"threads": torch.get_num_threads()}
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = to_torch(network(case), jax.tree.map(jnp.asarray, parameters(case))).to(self.device)
        self.suffixes = [f"l{k}{end}" for k in range(case.layers) for end in (("", "_reverse") if case.both else ("",))]
        self.xs = torch.from_numpy(case.inputs()).to(self.device).requires_grad_()
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
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return result

    def results(self) -> dict[str, np.ndarray]:
        loss, (dxs, *grads) = self.run("gradient")
        named = dict(zip([name for name, _ in self.net.named_parameters()], grads, strict=True))
        found = {"loss": loss.detach(), "dxs": dxs}
        for k, suffix in enumerate(self.suffixes):
            found |= {f"w_x {k}": named[f"weight_ih_{suffix}"].T, f"w_h {k}": named[f"weight_hh_{suffix}"].T}
        return {name: value.cpu().numpy() for name, value in found.items()}


def build(case: Case) -> Program | None:
    return Program(case)

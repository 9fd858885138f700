"""torch.nn.LSTM, GRU and RNN: oneDNN or its own kernels on a CPU, cuDNN on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.cases import Case

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}


class Program:
    def __init__(self, case: Case):
        self.cell, self.facts = case.cell, {"threads": torch.get_num_threads()}
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = KINDS[case.cell](case.features, case.hidden, num_layers=case.layers, bidirectional=case.both)
        self.suffixes = [f"l{k}{end}" for k in range(case.layers) for end in (("", "_reverse") if case.both else ("",))]
        with torch.no_grad():
            for suffix, p in zip(self.suffixes, case.weights(), strict=True):
                for name, value in (("weight_ih", p["w_x"].T), ("weight_hh", p["w_h"].T), ("bias_ih", p["b"])):
                    getattr(self.net, f"{name}_{suffix}").copy_(torch.from_numpy(np.ascontiguousarray(value)))
                second = getattr(self.net, f"bias_hh_{suffix}").zero_()
                if "b_n" in p:
                    second[2 * case.hidden :] = torch.from_numpy(p["b_n"])
        self.net.to(self.device)
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

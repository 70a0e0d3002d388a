"""Recurrent networks compute on cuDNN as they would without the trainer."""

from __future__ import annotations

from functools import partial
from queue import SimpleQueue
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import Tensor, nn

from optuna_ga.torch._randomness import member_randomness
from optuna_ga.torch._randomness.draws import may_draw
from optuna_ga.torch._randomness.dropout import _recurrent
from optuna_ga.torch._randomness.member_randomness import MemberRandomness
from tests.torch.tasks import Classes, Recurrent, tokens, trained

# By module, since an attribute would be one of the network.
PLACES: WeakKeyDictionary[nn.Module, list[int]] = WeakKeyDictionary()
CALLS: SimpleQueue[str] = SimpleQueue()  # Threads may share it.


class Noting(nn.LSTM):
    """Cells that note where their weights are when they are laid out for cuDNN."""

    def flatten_parameters(self) -> None:
        """Note the places of the weights."""
        PLACES[self] = [each.data_ptr() for each in self.parameters()]

    def forward(self, *arguments: Any) -> Any:
        """Return the outputs, and note whether the weights are where they were laid out."""
        if all(isinstance(each, nn.Parameter) for each in vars(self)["_parameters"].values()):
            places = [each.data_ptr() for each in self.parameters()]
            CALLS.put("flat" if PLACES.get(self) == places else "apart")
        result: tuple[Tensor, Any] = super().forward(*arguments)
        return result


@pytest.mark.parametrize("backend", ["loop", "threads"])
def test_weights_of_a_copy_are_laid_out_anew(backend: str) -> None:
    """A copy has them apart, which makes cuDNN copy them in every step."""
    trained(Classes(partial(Recurrent, Noting)), tokens, backend=backend)
    calls = [CALLS.get() for _ in range(CALLS.qsize())]

    assert {*calls} == {"flat"}
    assert len(calls) > 40


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recurrent_layers_draw_by_dropout_alone(dropout: float) -> None:
    """PyTorch marks cuDNN's layers as drawing in any case."""
    layers = torch.ops.aten._cudnn_rnn.default

    assert may_draw(layers, (), {"dropout": dropout}) == (dropout > 0)


@pytest.mark.filterwarnings("ignore:dropout option adds dropout after all but last")
@pytest.mark.parametrize(("n_layers", "given"), [(1, [0.0]), (3, [0.0, 0.0, 0.0])])
def test_pytorch_drops_nothing_itself(
    n_layers: int, given: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the dropout of a single layer, which has no effect, cuDNN would draw a seed."""
    seen: list[float] = []

    def noting(*arguments: Any) -> Any:
        seen.append(arguments[5])
        return torch.gru(*arguments)

    monkeypatch.setitem(member_randomness._DRAWING, torch.gru, partial(_recurrent, noting))
    network = nn.GRU(4, 3, n_layers, dropout=0.3)
    zero = torch.zeros((), dtype=torch.int32)
    with MemberRandomness(zero, zero):
        network(torch.ones(2, 5, 4))

    assert seen == given

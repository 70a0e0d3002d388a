"""Copies of recurrent networks compute as fast as the networks themselves."""

from __future__ import annotations

from functools import partial
from queue import SimpleQueue
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from torch import Tensor, nn

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

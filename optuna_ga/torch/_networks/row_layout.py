"""The place of each parameter in a member's row of weights.

Shapes: W weights of a member, the gaps between its parameters included.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

_ALIGNMENT = 64  # In numbers; matrix products are slower on tensors that begin anywhere.


class RowLayout:
    """Maps the parameters of a network to a row `(W,)`, and back.

    A complex number is two in a row, as it is for PyTorch's optimizers.

    Args:
        parameters: The parameters to train, by name.

    Attributes:
        width: W.
        dtype: Of the rows, which is real.

    Raises:
        ValueError: If there are no parameters, or such of several types.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        types = {p.dtype for p in parameters.values()}
        if len(types) != 1:
            raise ValueError(
                "`task.model` must return a network whose parameters to train have one type, but "
                f"they have {sorted(map(str, types)) or 'none'}."
            )
        self.dtype = types.pop().to_real()
        self._shapes = {name: _as_real(p).shape for name, p in parameters.items()}
        self._is_complex = any(p.is_complex() for p in parameters.values())
        self._offsets: dict[str, int] = {}
        self.width = 0
        for name, shape in self._shapes.items():
            self._offsets[name] = self.width
            self.width += math.ceil(shape.numel() / _ALIGNMENT) * _ALIGNMENT

    @property
    def names(self) -> Collection[str]:
        """The names of the parameters."""
        return self._shapes.keys()

    def views(self, weights: Tensor) -> dict[str, Tensor]:
        """Return the parameters `(..., *shape)` in rows `(..., W)`."""
        real = {
            name: weights.narrow(-1, self._offsets[name], shape.numel()).view(
                (*weights.shape[:-1], *shape)
            )
            for name, shape in self._shapes.items()
        }
        if not self._is_complex:
            return real
        return {name: torch.view_as_complex(view) for name, view in real.items()}

    def rows(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return parameters `(..., *shape)` as rows `(..., W)`, with zeros in the gaps."""
        pieces = []
        for name, shape in self._shapes.items():
            tensor = _as_real(parameters[name])
            batch = tensor.shape[: tensor.dim() - len(shape)]
            pieces.append(tensor.reshape(*batch, -1))
            if gap := -shape.numel() % _ALIGNMENT:
                pieces.append(tensor.new_zeros(*batch, gap))
        return torch.cat(pieces, -1)

    def places_but(self, names: Collection[str]) -> Tensor | None:
        """Return where in a row `(W,)` other parameters lie; None if there are no such names."""
        if not names:
            return None
        return self.rows(
            {name: torch.full(shape, name not in names) for name, shape in self._shapes.items()}
        )


def _as_real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor

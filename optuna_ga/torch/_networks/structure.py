"""The shape of a network apart from its numbers: members that share it can train as one.

Shapes: P members, W weights of a member.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_map

from optuna_ga.torch._environment import Precision, forget_casts
from optuna_ga.torch._networks.bfloat16 import Float32Statistics, compute_in_bfloat16
from optuna_ga.torch._networks.facts import Facts
from optuna_ga.torch._networks.row_layout import RowLayout
from optuna_ga.torch._randomness.member_randomness import MemberRandomness
from optuna_ga.torch._returned import undecayed


class Structure:
    """A network without its numbers, and how to compute with numbers from outside.

    The weights of a member are a row `(W,)`, in which each parameter has its place; frozen
    parameters and buffers are kept by name.

    Args:
        model: A network, whose numbers do not matter.
        key: Its `signature`.
        device: Where to compute.
        precision: The precision of computing.
        make: Makes another network of this structure, if `copy.deepcopy` cannot; else None.
        task: What networks may refer to and is not copied with them. Its method `decays`, if it
            has one, says which parameters decay.
        facts: What is known of networks with this key; nothing yet by default.

    Attributes:
        key: The signature.
        template: A network on the device, which never computes if it is copied.
        model: A network to compute with, which may keep what it has computed.
        is_copied: Whether a copy of the template computes what it does.
        computes_in_half: Whether the precision is bfloat16.
        facts: What steps have shown of networks with this key, which all their structures share.
        undecayed: Names of the parameters to train that weight decay leaves alone.
        layout: The places of the parameters to train in a row.

    Raises:
        TypeError: If `task.decays` does not return a bool.
        ValueError: If the model has no parameters to train, or such of several types.
    """

    def __init__(
        self,
        model: nn.Module,
        key: Hashable,
        device: torch.device,
        precision: Precision,
        make: Callable[[], nn.Module] | None = None,
        task: object = None,
        facts: Facts | None = None,
    ) -> None:
        self.key = key
        self.facts = Facts() if facts is None else facts
        self._task = task
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.layout = RowLayout(trained)
        self.undecayed = undecayed(task, trained)
        self._device, self._make = device, make
        self.is_copied = make is None
        self.computes_in_half = precision == "bfloat16"
        self._places = dict(_places(model))
        self._kept = {*self._places.values()} - {*trained}  # Not what a first call registers.
        self._statistics = {
            name
            for prefix, module in model.named_modules()
            if isinstance(module, _NormBase)
            for name, _ in module.named_buffers(prefix, recurse=False)
        }
        self.template = self.prepared(model)
        self.model = self.new() if self.is_copied else self.template

    def prepared(self, model: nn.Module) -> nn.Module:
        """Return a network of this structure, on the device and for the precision."""
        if self.computes_in_half:
            compute_in_bfloat16(model)
        return model.to(self._device)

    def new(self) -> nn.Module:
        """Return a network that has computed nothing yet."""
        if self._make is not None:
            return self.prepared(self._make())
        model = copy_of(self.template, self._task)
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # Or cuDNN would copy the weights in every step.
        return model

    def copied(self) -> Structure:
        """Return this structure with a network of its own, which has computed what this one has.

        Raises:
            Exception: If the network cannot be copied, such as for what it keeps.
        """
        found = copy.copy(self)
        found.model = copy_of(self.model, self._task)
        return found

    @contextmanager
    def computing_with(self, model: nn.Module) -> Iterator[None]:
        """Compute with a network; the present one stays as it is."""
        before, self.model = self.model, model
        try:
            yield
        finally:
            self.model = before

    def trained(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameters of a network that are trained."""
        return {name: p for name, p in model.named_parameters() if name in self.layout.names}

    def own(self, batch: Any) -> Any:
        """Return a shared batch for one member, a copy if that may change it."""
        return tree_map(torch.clone, batch) if self.facts.changes_batch else batch

    def trained_places(self, n_rows: int) -> Tensor | None:
        """Return where in a row `(W,)` a batch gives gradients; None if everywhere."""
        return self.layout.places_but(self.facts.unused[n_rows])

    def decayed_places(self) -> Tensor | None:
        """Return where in a row `(W,)` weights decay; None if everywhere."""
        return self.layout.places_but(self.undecayed)

    def check_trains(self, n_rows: int) -> None:
        """Check that a batch gives some parameter a gradient.

        Raises:
            ValueError: If it gives none.
        """
        if self.facts.unused[n_rows] == {*self.layout.names}:
            raise ValueError(
                "`task.loss` must depend on the parameters of the network that it is called with, "
                "but none of them has a gradient."
            )

    def rounded(self, weights: Tensor) -> Tensor:
        """Return weights in the type that is computed with."""
        return weights.bfloat16() if self.computes_in_half else weights

    def buffers(self, model: nn.Module) -> dict[str, Tensor]:
        """Return a model's buffers and its parameters that are not trained."""
        state = [*model.named_buffers(), *model.named_parameters()]
        return {name: tensor.detach() for name, tensor in state if name in self._kept}

    def compute(
        self,
        function: Callable[[Any, Any], Any],
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        batch: Any,
        key: Tensor,
        step: Tensor,
        model: nn.Module | None = None,
    ) -> tuple[Any, dict[str, Tensor]]:
        """Call a function of model and batch for one member; a pure function of its arguments.

        Args:
            function: The task's `loss` or `metrics`.
            parameters: The member's, by name.
            buffers: The member's, by name.
            batch: The batch.
            key: Of the member's random numbers, `()`.
            step: The number of the batch within the epoch, `()`.
            model: A network of this structure to compute with; None takes `model`.

        Returns:
            The result, and the buffers afterwards.

        Raises:
            ValueError: If a buffer changes its type or shape.
        """
        named = {name: tensor.clone() for name, tensor in buffers.items()} | dict(parameters)
        if self.computes_in_half:
            named = {name: self._halved(name, tensor) for name, tensor in named.items()}
        state = {_Call.prefix + place: named[name] for place, name in self._places.items()}
        call = _Call(self.model if model is None else model, function)
        forget_casts()
        statistics = Float32Statistics() if self.computes_in_half else nullcontext()
        with self.randomness(key, step), statistics:
            result = functional_call(call, state, (batch,), tie_weights=False)
        after = {name: state[_Call.prefix + name].detach() for name in buffers}
        self.check_layouts(after, named)
        return result, {name: after[name].to(buffers[name].dtype) for name in buffers}

    @contextmanager
    def randomness(self, key: Tensor, step: Tensor) -> Iterator[None]:
        """Have random numbers drawn for a member, if the networks draw any."""
        if not self.facts.draws:  # Watching for them would slow every operation.
            yield
            return
        with MemberRandomness(key, step) as mode:
            try:
                yield
            finally:
                self.facts.has_drawn |= mode.was_needed

    def check_layouts(self, after: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> None:
        """Check that buffers have kept their layout.

        Raises:
            ValueError: If one has not.
        """
        for name, tensor in after.items():
            self._check_layout(name, tensor, before[name])

    def _check_layout(self, name: str, tensor: Tensor, before: Tensor) -> None:
        is_rounded = (
            self.computes_in_half and tensor.is_floating_point() and before.is_floating_point()
        )
        if tensor.shape != before.shape or (tensor.dtype != before.dtype and not is_rounded):
            raise ValueError(
                f"`task` must keep the type and the shape of each buffer, but `{name}` changes "
                f"from {before.dtype} {tuple(before.shape)} to {tensor.dtype} "
                f"{tuple(tensor.shape)}."
            )

    def _halved(self, name: str, tensor: Tensor) -> Tensor:
        is_statistic = name in self._statistics
        return tensor.bfloat16() if tensor.is_floating_point() and not is_statistic else tensor


def copy_of(model: nn.Module, task: object) -> nn.Module:
    """Return a copy of a network, whose hooks and functions may be methods of the same task."""
    # A task that is a module may be the network.
    return copy.deepcopy(model, {} if isinstance(task, nn.Module) else {id(task): task})


def _places(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield each place of a tensor in a network once, and the tensor's name.

    A module with two names is one place, which `functional_call` must fill once, or it would not
    find its way back; tied tensors have one name, and two places.
    """
    names = {id(tensor): name for name, tensor in _tensors(model)}
    for prefix, module in model.named_modules():
        options = {"prefix": prefix, "recurse": False, "remove_duplicate": False}
        for place, tensor in _tensors(module, **options):
            yield place, names[id(tensor)]


def _tensors(module: nn.Module, **options: Any) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(**options)
    yield from module.named_buffers(**options)


class _Call(nn.Module):
    """A function of a model as a module, so that `functional_call` serves it."""

    prefix = "model."

    def __init__(self, model: nn.Module, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, batch: Any) -> Any:
        return self.function(self.model, batch)

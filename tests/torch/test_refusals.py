"""What cannot work is refused before any training, with the argument, the rule and the value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.data import Dataset, TensorDataset

from optuna_ga.torch import (
    Capturer,
    Cosine,
    Member,
    PopulationTrainer,
    StepDecay,
    TensorData,
    computing,
)
from tests.torch.tasks import Classes, mlp, rows


def trainer(task: Any = None, **options: Any) -> PopulationTrainer:
    """Return a trainer of small networks for an epoch."""
    data = rows(30)
    settings = {"train": data, "validation": data, "epochs": 1, "device": "cpu", **options}
    return PopulationTrainer(task or Classes(mlp), **settings)


class Forgetting(Classes):
    """A task whose loss forgets the network that it is called with."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return super().loss(self.model(0), batch)


class Returning(Classes):
    """A task whose loss and metrics are made of its network's outputs."""

    def __init__(self, loss: Any = torch.mean, metrics: Any = None) -> None:
        super().__init__(mlp)
        self._loss, self._metrics = loss, metrics or (lambda outputs: {"loss": outputs.sum()})

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        result: Tensor = self._loss(model(batch[0]))
        return result

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        result: dict[str, Tensor] = self._metrics(model(batch[0]))
        return result


class Rows(Dataset[Tensor]):
    """A data set that is no loader."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, n: int) -> Tensor:
        return torch.zeros(6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": SimpleNamespace(model=mlp, loss=torch.sum)}, "`task` must have a .* `metrics`"),
        (
            {"task": SimpleNamespace(model=lambda seed: 5, loss=sum, metrics=sum)},
            "`task.model` must.*ed 5",
        ),
        ({"task": Returning(lambda outputs: 1.0)}, "`task.loss` must.*returned 1.0"),
        ({"task": Returning(metrics=torch.sum)}, "`task.metrics` must.*returned tensor"),
        (
            {"task": Returning(metrics=lambda outputs: {"loss": 1.0})},
            r"`task.metrics`.*1.0.*`.item\(\)`",
        ),
        (
            {"train": TensorDataset(torch.zeros(30, 6), torch.zeros(30))},
            r"`train` must.*`TensorData\(\*train.tensors, batch_size=...\)`",
        ),
        ({"train": Rows()}, r"`train` must.*`DataLoader\(train, batch_size=...\)`"),
        ({"optimizer": torch.optim.AdamW}, "`optimizer` must be a name.*'adamw'"),
        (
            {"optimizer": torch.optim.SGD([torch.zeros(1)], lr=0.1)},
            "`optimizer` must be a name.*'sgd'",
        ),
        ({"optimizer": torch.optim.RMSprop}, "`optimizer` must be a string"),
        ({"train": (torch.zeros(30, 6), torch.zeros(30))}, "`train` must.*`TensorData"),
        ({"optimizer": ["sgd"]}, "`optimizer` must be a string"),
        ({"schedule": "cosine"}, "`schedule` must be a function.*'cosine'"),
        ({"schedule": Cosine}, "`schedule` must be a function.*Cosine"),
        ({"task": Returning}, r"`task` must be an object.*`Returning\(\)`"),
    ],
)
@pytest.mark.parametrize("backend", ["auto", "loop", "vmap"])
def test_an_argument_of_the_wrong_type_is_named(options: Any, words: str, backend: str) -> None:
    """As the trainer is made."""
    with pytest.raises(TypeError, match=f"^{words}"):
        trainer(**options, backend=backend)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Returning(lambda outputs: outputs.sum(1)), r"`task.loss` must.*shape \(8,\)"),
        (Returning(lambda outputs: outputs.sum().detach()), "`task.loss` must depend"),
        (Returning(metrics=lambda outputs: {"loss": outputs.sum(0)}), r"`task.metrics`.*\(3,\)"),
        (Returning(metrics=lambda outputs: {}), "`task.metrics` must.*empty"),
        (Returning(lambda outputs: outputs.sum() * 1j), "`task.loss` must.*real.*complex128"),
        (
            Returning(metrics=lambda outputs: {"loss": outputs.sum() * 1j}),
            "`task.metrics` must.*real.*'loss' is of torch.complex128",
        ),
        (Forgetting(mlp), "`task.loss` must depend.*none of them has a gradient"),
    ],
)
def test_a_result_of_the_wrong_shape_is_named(task: Any, words: str) -> None:
    """As the trainer is made, or before the first training of networks with settings."""
    with pytest.raises(ValueError, match=words):
        trainer(task)


def pruned() -> nn.Module:
    """Return a network with pruned weights."""
    layer: nn.Module = prune.l1_unstructured(nn.Linear(6, 3), "weight", 0.5)
    return layer


class Sparse(nn.Module):
    """A network with an embedding of sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 3, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean embedding."""
        outputs: Tensor = self.embed(x.long().clamp(0, 8)).mean(1)
        return outputs


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (pruned, "`task.model` must.*copy.deepcopy.*nn.utils.prune.*parametrizations"),
        (partial(nn.LazyLinear, 3), "`task.model` must.*`weight` is lazy"),
        (Sparse, "`task.model` must.*`embed.weight` is torch.sparse_coo"),
    ],
)
@pytest.mark.parametrize("backend", ["auto", "loop"])
def test_a_network_that_cannot_be_trained_is_refused(
    network: Callable[..., nn.Module], words: str, backend: str
) -> None:
    """The error says what to use instead."""
    with pytest.raises(ValueError, match=words):
        trainer(Classes(network), backend=backend)


class Retyped(nn.Module):
    """A layer with a buffer that becomes another."""

    def __init__(self, after: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("steps", torch.tensor(0))
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs."""
        if self.training:
            self.steps = self.after
        outputs: Tensor = self.layer(x)
        return outputs


@pytest.mark.parametrize("after", [torch.tensor(0.5), torch.tensor([1])])
@pytest.mark.parametrize("backend", ["auto", "loop", "vmap"])
def test_a_buffer_that_changes_its_type_or_shape_is_refused(after: Tensor, backend: str) -> None:
    """It would be rounded, or spread, where members are stacked."""
    with pytest.raises(ValueError, match=r"must keep the type and the shape.*`steps`"):
        trainer(Classes(partial(Retyped, after)), backend=backend)


class Remembering(nn.Module):
    """A layer that the first call scales, shifts by its weights, or by its examples' mean."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.first = first
        self.shift: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs, shifted."""
        outputs: Tensor = self.layer(x)
        if self.shift is None:
            made = {
                "weights": self.layer.weight.mean(),
                "examples": x.mean(),
                "scale": 0 * x[0, 0],
            }
            self.shift = made[self.first].detach().clone()
            if self.first == "scale":
                with torch.no_grad():
                    self.layer.weight.copy_(self.layer.weight / outputs.std())
        return outputs * (1 + self.shift)


@pytest.mark.parametrize("backend", ["auto", "loop", "threads", "vmap", "branches"])
@pytest.mark.parametrize("first", ["weights", "examples", "scale"])
def test_a_network_that_keeps_what_its_first_call_saw_is_refused(first: str, backend: str) -> None:
    """Every epoch of every member would take what the first one of all saw."""
    with pytest.raises(ValueError, match="must keep all of a network's state"):
        trainer(Classes(partial(Remembering, first)), backend=backend)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_the_old_form_of_weight_norm_is_refused_and_the_new_one_trains() -> None:
    """As the error says."""
    with pytest.raises(ValueError, match="parametrizations"):
        trainer(Classes(lambda: nn.utils.weight_norm(nn.Linear(6, 3))))
    parametrized = Classes(lambda: parametrizations.weight_norm(nn.Linear(6, 3)))
    (ended,) = trainer(parametrized, backend="loop").train([Member(0.1)])

    assert len(ended.epochs) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"betas": (False, False)},
        {"schedule": "cosine"},
        {"schedule": StepDecay},
        {"model": None},
        {"model": {"width": [1]}},
        {"model": {1: 2}},
    ],
    ids=str,
)
def test_a_setting_of_the_wrong_type_is_named(settings: Any) -> None:
    """As soon as the member is made."""
    (name,) = settings
    with pytest.raises(TypeError, match=f"^`{name}` must "):
        Member(**{"learning_rate": 0.1, **settings})


def test_settings_of_numpy_train_as_those_of_python() -> None:
    """Only Python's numbers seed PyTorch and are part of a state."""
    given: dict[str, Any] = {
        "learning_rate": np.float32(0.5), "betas": (np.float64(0.5), np.float32(0.25)),
        "seed": np.int64(3), "batch_size": np.int64(8), "epochs": np.int32(1),
    }  # fmt: skip
    decay: dict[str, Any] = {"factor": np.float32(0.5), "every": np.int8(1)}
    plain = {name: each.item() for name, each in given.items() if name != "betas"}
    subject = trainer(backend="loop", optimizer="adam")
    (one,) = subject.train([Member(**given, schedule=StepDecay(**decay))])
    (other,) = subject.train([Member(**plain, betas=(0.5, 0.25), schedule=StepDecay(0.5))])

    assert one.epochs == other.epochs
    assert one.state is not None
    assert {type(one.state[name]) for name in ("seed", "n_epochs", "n_steps")} == {int}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(StepDecay, 0.5, every=0), "`every` must be at least 1"),
        (partial(StepDecay, -0.5), "`factor` must be at least 0"),
        (partial(Cosine, -1.0), "`warm_up` must be at least 0"),
    ],
)
def test_a_schedule_out_of_its_range_is_refused(make: Callable[[], Any], words: str) -> None:
    """As it is made."""
    with pytest.raises(ValueError, match=words):
        make()


def test_a_transform_that_cannot_be_called_is_refused() -> None:
    """As the data are made."""
    with pytest.raises(TypeError, match="`transform` must be callable"):
        TensorData(torch.zeros(3), transform=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ((np.zeros(3),), r"tensors with a row .*array\(\[0\., 0\., 0\.\]\) was given"),
        ((), r"tensors with a row .*but \(\) was given"),
        ((torch.zeros(3), None), "tensors with a row .*but None was given"),
        ((torch.tensor(2.0),), r"tensors with a row .*but tensor\(2\.\) was given"),
        ((torch.zeros(3, device="meta"),), "dense tensors with numbers.*device='meta'"),
        ((torch.eye(3).to_sparse(),), "dense tensors with numbers.*indices=tensor"),
        ((torch.zeros(0, 2),), r"number of rows, at least 1, but \[0\]"),
    ],
)
def test_examples_that_are_no_tensors_with_rows_are_named(examples: Any, words: str) -> None:
    """As the data are made, with the value."""
    with pytest.raises(ValueError, match=f"^`examples` must.*{words}"):
        TensorData(*examples)


@pytest.mark.parametrize(
    ("transform", "error", "words"),
    [
        (lambda batch: None, TypeError, "returned None"),
        (lambda batch: {}, TypeError, "returned {}"),
        (lambda batch: (batch[0], 5), TypeError, "returned "),
        (lambda batch: (batch[0].sum(), batch[1]), ValueError, r"8 .*shape \(\)"),
        (lambda batch: (batch[0][:3], batch[1]), ValueError, r"8 .*shape \(3, 6\)"),
    ],
)
@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_transform_that_returns_no_rows_is_named(
    name: str, transform: Any, error: type[Exception], words: str
) -> None:
    """As the trainer is made, which looks at a batch."""
    batch = next(rows(8).batches(8))
    data = TensorData(*batch, batch_size=8, transform=transform)
    with pytest.raises(error, match=f"^`transform` must return tensors .*{words}"):
        trainer(**{name: data})


def test_a_device_that_computes_nothing_is_refused() -> None:
    """Such as PyTorch's for shapes alone."""
    with pytest.raises(ValueError, match="`device` must be a device that PyTorch can use"):
        trainer(device="meta")


def test_a_device_by_its_name_is_refused_where_a_device_is_needed() -> None:
    """It has no type."""
    words = "^`device` must be a `torch.device`, but 'cpu' was given"
    with pytest.raises(TypeError, match=words):
        Capturer("cpu")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=words), computing("float32", "cpu"):  # type: ignore[arg-type]
        pass


def test_a_precision_that_does_not_exist_is_refused() -> None:
    """Before anything computes with another."""
    with (
        pytest.raises(ValueError, match=r"^`precision` must be .*'float16' was given"),
        computing("float16", torch.device("cpu")),  # type: ignore[arg-type]
    ):
        pass


class Narrowed(nn.Module):
    """A layer with a buffer of numbers that becomes one of a narrower type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(3))
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs."""
        outputs: Tensor = self.layer(x)
        if self.training:
            self.mean = outputs.detach().mean(0).to(self.dtype)
        return outputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", ["auto", "loop", "vmap"])
def test_a_buffer_of_numbers_that_loses_digits_is_refused(
    dtype: torch.dtype, backend: str
) -> None:
    """Only the precision "bfloat16" may round buffers."""
    with pytest.raises(ValueError, match=r"must keep the type and the shape.*`mean`"):
        trainer(Classes(partial(Narrowed, dtype)), backend=backend)

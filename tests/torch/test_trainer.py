"""`PopulationTrainer`: refusals, choices, and the errors and user settings that it survives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
import pytest
import torch
from torch import Tensor, nn

from optuna_ga.torch import Cosine, Epoch, Member, PopulationTrainer, TensorData, Trained
from optuna_ga.torch._backends.stack import StackBackend
from optuna_ga.torch._choice import choose
from optuna_ga.torch._networks.verdict import Verdict
from optuna_ga.torch._randomness.generators import seeded
from optuna_ga.torch._training import Training
from tests.torch.tasks import (
    FOUR,
    MEMBERS,
    Classes,
    Recurrent,
    cnn,
    difference,
    images,
    mlp,
    rows,
    tokens,
    trained,
)


def trainer(task: Any = None, **options: Any) -> PopulationTrainer:
    """Return a trainer of small networks for two epochs on the CPU."""
    settings = {
        "train": rows(30), "validation": rows(20),
        "epochs": 2, "optimizer": "sgd", "device": "cpu", **options,
    }  # fmt: skip
    return PopulationTrainer(task or Classes(mlp), **settings)


FLOAT32 = {name: rows(30, torch.float32) for name in ("train", "validation")}


class Reading(Classes):
    """A task that reads its loss."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = super().loss(model, batch)
        return loss / 2 if loss.item() > 100 else loss


class Counting(Classes):
    """A task with a state of its own."""

    calls = 0

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.calls += 1
        return super().loss(model, batch) * self.calls


class Noisy(Classes):
    """A task that draws from PyTorch's global generator."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return super().loss(model, batch) * (1 + torch.poisson(torch.ones(())))


class Jittered(Classes):
    """A task that adds noise to its inputs."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return super().loss(model, (x + 0.1 * torch.randn_like(x) + torch.rand_like(x), y))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"optimizer": "lion"}, '`optimizer` must be "sgd" or'),
        ({"precision": "float16"}, '`precision` must be "float32" or'),
        ({"precision": "tf32"}, "`precision` must not be 'tf32'"),
        ({"backend": "fast"}, '`backend` must be "auto" or'),
        ({"device": "nowhere"}, "`device` must be a device"),
    ],
)
def test_an_argument_out_of_its_range_is_refused(options: Any, words: str) -> None:
    """The error names the argument, the rule and the value."""
    with pytest.raises(ValueError, match=words):
        trainer(**options)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": -1.0}, "`learning_rate` must be at least 0"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be at least 0"),
        ({"learning_rate": 1.0, "betas": (0.9, 1.0)}, "`betas` must lie in"),
        ({"learning_rate": 1.0, "betas": (0.9,)}, "`betas` must lie in"),
        ({"learning_rate": 1.0, "seed": -1}, "`seed` must be at least 0"),
        ({"learning_rate": 1.0, "seed": 2**63}, "`seed` must be at most"),
        ({"learning_rate": 1.0, "batch_size": 0}, "`batch_size` must be at least 1"),
        ({"learning_rate": 1.0, "epochs": 0}, "`epochs` must be at least 1"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(settings: Any, words: str) -> None:
    """The error comes as soon as the member is made."""
    with pytest.raises(ValueError, match=words):
        Member(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": "0.1"},
        {"learning_rate": None},
        {"momentum": True},
        {"betas": 0.9},
        {"betas": ("a", "b")},
        {"seed": 1.0},
        {"epochs": 2.0},
    ],
    ids=str,
)
def test_a_setting_of_the_wrong_type_is_named(settings: Any) -> None:
    """As soon as the member is made."""
    (name,) = settings
    with pytest.raises(TypeError, match=f"^`{name}` must be "):
        Member(**{"learning_rate": 0.1, **settings})


@pytest.mark.parametrize("examples", [(), (torch.zeros(3), torch.zeros(4)), (1.0,)])
def test_data_without_equal_rows_are_refused(examples: Any) -> None:
    """All tensors have a row for each example."""
    with pytest.raises(ValueError, match="`examples` must"):
        TensorData(*examples)


def test_a_batch_may_be_a_dictionary_and_is_transformed_on_the_device() -> None:
    """Rows are transformed one by one, whatever the shape of the index."""
    data = TensorData({"x": torch.arange(10)}, transform=lambda batch: {"x": batch["x"] * 2})

    assert data.take(torch.tensor([[1, 2], [3, 9]]))["x"].tolist() == [[2, 4], [6, 18]]


def test_networks_that_share_a_state_are_refused() -> None:
    """Otherwise a gradient would depend on which network was trained before."""
    with pytest.raises(ValueError, match="must keep all of a network's state"):
        trainer(Counting(mlp))


def test_reading_a_number_is_warned_of_with_its_line() -> None:
    """The warning names the file, the line and the code."""
    with pytest.warns(RuntimeWarning, match=r"test_trainer.py, line \d+: .return loss / 2 if"):
        ended = trainer(Reading(mlp)).train(FOUR)

    assert difference(ended, trainer(backend="loop").train(FOUR)) == 0.0


def test_a_backend_that_cannot_train_a_network_says_why() -> None:
    """A backend chosen by name raises instead of falling back."""
    with pytest.raises(ValueError, match=r"`backend` must not be 'vmap'.*steer Python"):
        trainer(Reading(mlp), backend="vmap").train(MEMBERS)


def test_numbers_may_steer_python_in_threads() -> None:
    """Each member has a network of its own there."""
    ended = trainer(Reading(mlp), backend="threads").train(MEMBERS)

    assert difference(ended, trainer(Reading(mlp), backend="loop").train(MEMBERS)) < 1e-12


def test_global_random_numbers_end_in_the_loop_and_depend_on_the_seed() -> None:
    """Neither a member's place nor the user's generator matters."""
    before, subject = torch.get_rng_state(), trainer(Noisy(mlp))
    with pytest.warns(RuntimeWarning, match=r"by `poisson` \(in .*test_trainer.py, line"):
        ended = subject.train(MEMBERS)

    assert torch.equal(torch.get_rng_state(), before)
    assert difference(ended, subject.train(MEMBERS[::-1])[::-1]) == 0.0


def test_noise_like_a_tensor_is_a_members_own() -> None:
    """`rand_like` and `randn_like` give a member the same numbers in every backend."""
    loop, vmap = (trainer(Jittered(mlp), backend=b).train(MEMBERS) for b in ("loop", "vmap"))

    assert difference(loop, vmap) < 1e-12


def test_lstm_falls_back_with_a_warning() -> None:
    """For float32 on a CPU PyTorch uses a special kernel, for which `vmap` has no rule."""
    task = Classes(partial(Recurrent, nn.LSTM), torch.float32)
    with pytest.warns(RuntimeWarning, match="vmap has no rule"):
        ended = trained(task, tokens, FOUR)

    assert difference(ended, trained(task, tokens, FOUR, backend="threads")) == 0.0


@contextmanager
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Have Optuna's log captured."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.INFO)
    optuna.logging.enable_propagation()
    yield
    optuna.logging.disable_propagation()
    optuna.logging.set_verbosity(verbosity)


@pytest.mark.parametrize(
    ("task", "data", "n", "name"),
    [
        (Classes(mlp), rows, 4, "vmap"),
        (Classes(mlp), rows, 1, "threads"),
        (Classes(cnn), images, 4, "threads"),
    ],
)
def test_auto_says_what_it_takes_and_why(
    task: Any, data: Any, n: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On a CPU `vmap` pays for many small networks without convolutions."""
    with logged(caplog):
        trained(task, data, [MEMBERS[0]] * n)

    (words,) = set(caplog.messages)
    assert words.startswith(f"Backend '{name}', since ")


def test_fewer_train_at_a_time_if_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one warning, and the results are the same."""
    subject = trainer(backend="vmap")
    whole = subject.train([*MEMBERS, *MEMBERS])
    train_epoch = StackBackend.train_epoch

    def tight(self: StackBackend, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        if len(members) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return train_epoch(self, members)

    monkeypatch.setattr(StackBackend, "train_epoch", tight)
    with pytest.warns(RuntimeWarning, match="no memory to train 6 networks") as warned:
        parts = subject.train([*MEMBERS, *MEMBERS])

    assert len(warned) == 1
    assert difference(whole, parts) < 1e-14


def test_evaluation_takes_smaller_batches_if_memory_runs_out() -> None:
    """All members still train together."""

    class Hungry(Classes):
        largest = 0

        def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            if len(batch[0]) > 3:
                raise torch.OutOfMemoryError("out of memory")
            return super().metrics(model, batch)

    data = rows(20, batch_size=3)
    options: Any = {"epochs": 1, "device": "cpu", "backend": "vmap"}
    hungry = PopulationTrainer(Hungry(mlp), train=rows(30), validation=data, **options)
    hungry._engine.recipe.validation.batch_size = 20  # As if the memory had sufficed at first.
    fed = PopulationTrainer(Classes(mlp), train=rows(30), validation=data, **options)

    hungry._engine._maker._facts.update(fed._engine._maker._facts)
    assert difference(hungry.train(MEMBERS), fed.train(MEMBERS)) < 1e-12


def test_settings_of_the_user_change_nothing_and_stay() -> None:
    """They are default type and device, inference mode, and the global generator."""
    options = {name: rows(30, torch.float32) for name in ("train", "validation")}
    expected = trainer(Classes(mlp, torch.float32), **options).train(MEMBERS)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    state = torch.get_rng_state()
    try:
        with torch.inference_mode():
            ended = trainer(Classes(mlp, torch.float32), **options).train(MEMBERS)
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)

    assert difference(expected, ended) == 0.0
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_settings_of_the_user_stay_after_two_threads() -> None:
    """One begins before, and ends during, the training of the other."""
    first_trains, second_trains = threading.Event(), threading.Event()
    subjects = [trainer(Noisy(mlp, torch.float32), **FLOAT32, backend="loop") for _ in range(2)]
    types: list[torch.dtype] = []

    def first() -> None:
        def wait(epoch: int, results: Any) -> tuple[int, ...]:
            first_trains.set()
            second_trains.wait(10)
            return ()

        subjects[0].train(MEMBERS[:1], after_epoch=wait)

    def second() -> None:
        def wait(epoch: int, results: Any) -> tuple[int, ...]:
            second_trains.set()
            threads[0].join()
            types.append(torch.get_default_dtype())
            return ()

        first_trains.wait(10)
        subjects[1].train(MEMBERS[:1], after_epoch=wait)

    torch.set_default_dtype(torch.float64)
    state = torch.get_rng_state()
    try:
        threads = [threading.Thread(target=each) for each in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)

    assert types == [torch.float32, torch.float32]
    assert torch.equal(state, torch.get_rng_state())


def test_threads_restore_the_generator_whatever_their_order() -> None:
    """The first to enter may be the first to leave."""
    state = torch.get_rng_state()
    one, other = seeded(1, alone=False), seeded(2, alone=False)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    other.__exit__(None, None, None)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("backend", ["loop", "vmap", "branches"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_training_goes_on_as_if_it_had_not_stopped(backend: str, optimizer: str) -> None:
    """One epoch and two more equal three, in weights, momenta, steps, order and dropout."""
    task = Classes(partial(mlp, dropout=0.3))
    options = {"backend": backend, "optimizer": optimizer}
    whole = trainer(task, epochs=3, **options).train(MEMBERS)
    states = [each.state for each in trainer(task, epochs=1, **options).train(MEMBERS)]
    ended = trainer(task, epochs=2, **options).train(MEMBERS, states=states)

    for one, other in zip(whole, ended, strict=True):
        assert one.epochs[1:] == other.epochs
    assert difference(
        [replace(each, epochs=[]) for each in whole], [replace(each, epochs=[]) for each in ended]
    ) == 0.0  # fmt: skip


class Projecting(nn.Module):
    """A layer after a fixed matrix, drawn as the network is made, that no state has."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = torch.randn(6, 6, dtype=torch.float64)
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.layer(x @ self.matrix)
        return logits


def test_a_resumed_network_holds_what_the_seed_of_its_state_gave_it() -> None:
    """Whatever seed the member has that goes on, as in population-based training."""
    task = Classes(Projecting)
    (whole,) = trainer(task).train([Member(0.1, seed=3)])
    (first,) = trainer(task, epochs=1).train([Member(0.1, seed=3)])
    (rest,) = trainer(task, epochs=1).train([Member(0.1, seed=8)], states=[first.state])

    assert rest.epochs == whole.epochs[1:]


def test_members_of_different_age_train_together() -> None:
    """Each member has its own number of Adam's steps, order and random numbers."""
    options = {"backend": "vmap", "optimizer": "adamw"}
    (old,) = trainer(epochs=1, **options).train(MEMBERS[:1])
    mixed = trainer(**options).train([MEMBERS[0], MEMBERS[0]], states=[old.state, None])
    alone = [
        *trainer(**options).train(MEMBERS[:1], states=[old.state]),
        *trainer(**options).train(MEMBERS[:1]),
    ]

    assert difference(mixed, alone) < 1e-12


def test_a_state_of_another_shape_is_refused() -> None:
    """The error says that hyperparameters which change the shape cannot be searched."""
    (wide,) = trainer().train([Member(0.1, model={"width": 4})])
    with pytest.raises(ValueError, match="network of the same shape"):
        trainer().train([Member(0.1)], states=[wide.state])


def test_a_trained_state_is_the_models_state_dict() -> None:
    """A model that loads it scores as the trained network did."""
    (ended,) = trained(Classes(cnn), images, MEMBERS[:1])
    assert ended.state is not None
    model = cnn().double()
    model.load_state_dict({**ended.state["weights"], **ended.state["buffers"]})
    data = images(20)
    with torch.no_grad():
        metrics = Classes(cnn).metrics(model.eval(), data.take(torch.arange(20)))

    assert metrics["loss"].item() / 20 == pytest.approx(ended.epochs[-1].metrics["loss"])


def test_frozen_parameters_stay_and_shared_ones_are_one() -> None:
    """Backends train exactly the parameters that PyTorch's optimizer would."""

    def network() -> nn.Module:
        model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
        model[2].weight = model[0].weight
        model[3].bias.requires_grad_(False)
        return model

    loop, vmap = (trainer(Classes(network), backend=b).train(MEMBERS) for b in ("loop", "vmap"))

    assert difference(loop, vmap) < 1e-12
    assert loop[0].state is not None
    assert set(loop[0].state["buffers"]) == {"3.bias"}


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap"])
def test_members_may_have_epochs_of_their_own(backend: str) -> None:
    """Each is trained and scheduled as by a trainer of as many; None takes the trainer's."""
    options: Any = {"backend": backend, "schedule": Cosine()}
    members = [replace(MEMBERS[0], epochs=epochs) for epochs in (1, 3, None)]
    together = trained(Classes(mlp), rows, members, epochs=2, **options)

    for ended, epochs in zip(together, (1, 3, 2), strict=True):
        alone = trained(Classes(mlp), rows, MEMBERS[:1], epochs=epochs, **options)
        assert difference([ended], alone) < 1e-12
        assert len(ended.epochs) == epochs
        assert ended.state is not None
        assert ended.state["n_epochs"] == epochs


def test_a_member_that_drops_out_trains_no_further() -> None:
    """The other members' results do not change."""
    seen: list[list[int]] = []

    def drop(epoch: int, ended: Any) -> list[int]:
        seen.append(sorted(ended))
        return [1] if epoch == 1 else []

    subject = trainer(backend="vmap", epochs=3)
    whole = subject.train(MEMBERS)
    dropping = subject.train(MEMBERS, after_epoch=drop)

    assert seen == [[0, 1, 2], [0, 2], [0, 2]]
    assert len(dropping[1].epochs) == 1
    assert difference([whole[0], whole[2]], [dropping[0], dropping[2]]) < 1e-14


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_a_member_that_drops_out_keeps_its_state(backend: str) -> None:
    """It is that after its last epoch, and goes on to that of a whole training."""
    subject = trainer(backend=backend, epochs=3)
    whole = subject.train(MEMBERS)
    (dropped,) = subject.train(MEMBERS[1:2], after_epoch=lambda epoch, ended: [0][epoch - 1 :])
    rest = replace(MEMBERS[1], epochs=2)
    (resumed,) = subject.train([rest], states=[dropped.state])

    assert len(dropped.epochs) == 1
    assert (
        difference([Trained(dropped.epochs + resumed.epochs, resumed.state)], whole[1:2]) < 1e-14
    )


@pytest.mark.parametrize(
    ("device", "n", "verdict", "name"),
    [
        ("cuda", 20, Verdict("it reads"), "loop"),
        ("cuda", 20, Verdict(no_vmap="no rule"), "branches"),
        ("cuda", 20, Verdict(), "vmap"),
        ("cuda", 2, Verdict(), "branches"),
        ("cuda", 20, Verdict(convolution=200_000), "vmap"),
        ("cuda", 5, Verdict(convolution=200_000), "branches"),
        ("cuda", 20, Verdict(convolution=12_000_000), "branches"),
        ("cpu", 20, Verdict(no_vmap="no rule"), "threads"),
        ("cpu", 4, Verdict(products=150_000), "vmap"),
        ("cpu", 3, Verdict(products=150_000), "threads"),
        ("cpu", 20, Verdict(products=150_001), "threads"),
        ("cpu", 20, Verdict(convolution=20_000, products=50_000), "threads"),
        ("cpu", 20, Verdict(convolution=20_000, products=50_000, no_threads="it counts"), "loop"),
        ("cpu", 3, Verdict(products=150_000, no_threads="it counts"), "loop"),
        ("cpu", 4, Verdict(products=150_000, no_threads="it counts"), "vmap"),
        ("cpu", 4, Verdict(no_threads="it counts", keeps="it keeps a tensor"), "loop"),
    ],
)
def test_auto_chooses_by_device_size_and_verdict(
    device: str, n: int, verdict: Verdict, name: str
) -> None:
    """On the CPU just at the limits, and beyond them."""
    recipe = trainer()._engine.recipe._replace(device=torch.device(device))

    assert choose(recipe, n, verdict)[0] == name


def test_products_of_convolutions_are_counted_for_one_example() -> None:
    """For images of 6 x 6 there are 4 x 36 outputs of 18 products, and 4 x 16 outputs of 36."""
    options: Any = {"train": images(30), "validation": images(20)}
    (facts,) = trainer(Classes(cnn), **options)._engine._maker._facts.values()

    convolution = 4 * 36 * 18 + 4 * 16 * 36
    assert facts.verdict == Verdict(convolution=convolution, products=convolution + 64 * 3)


class Rows(nn.Module):
    """A layer that reads the 8 rows of 8 inputs of an example, and a classifier.

    Args:
        layer: The layer.
        width: Its outputs for a row.
        order: Whether it takes "batches" of examples, "sequences" of rows, or rows alone, "flat".
    """

    def __init__(self, layer: nn.Module, width: int, order: str) -> None:
        super().__init__()
        self.layer, self.order, self.last = layer, order, nn.Linear(8 * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of inputs `(B, 64)`."""
        rows = x.reshape(-1, 8, 8)
        if self.order == "flat":
            found = self.layer(x.reshape(-1, 8)).reshape(len(x), -1)
        elif self.order == "sequences":
            found = self.layer(rows.transpose(0, 1)).transpose(0, 1)
        elif self.order == "attention":
            found = self.layer(rows, rows, rows)
        else:
            found = self.layer(rows)
        logits: Tensor = self.last((found[0] if isinstance(found, tuple) else found).flatten(1))
        return logits


@pytest.mark.parametrize(
    ("layer", "width", "order", "products"),
    [
        (lambda: nn.Linear(8, 5), 5, "batches", 8 * 8 * 5),
        (lambda: nn.Linear(8, 5), 5, "sequences", 8 * 8 * 5),
        (lambda: nn.Linear(8, 5), 5, "flat", 8 * 8 * 5),
        (lambda: nn.MultiheadAttention(8, 2, batch_first=True), 8, "attention", 8 * 4 * 8 * 8),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            8,
            "batches",
            8 * (4 * 8 * 8 + 2 * 8 * 16),
        ),
        (lambda: nn.GRU(8, 8, batch_first=True, bias=False), 8, "batches", 8 * 3 * 2 * 8 * 8),
    ],
)
def test_products_of_a_layer_that_an_example_uses_often_count_each_time(
    layer: Callable[[], nn.Module], width: int, order: str, products: int
) -> None:
    """Rows of an example, in whatever order they come, and tokens and steps."""
    data = TensorData(torch.randn(30, 64).double(), torch.randint(3, (30,)), batch_size=10)
    task = Classes(lambda: Rows(layer(), width, order))
    subject = trainer(task, train=data, validation=data)

    (facts,) = subject._engine._maker._facts.values()

    assert facts.verdict is not None
    assert facts.verdict.products == products + 8 * width * 3


@pytest.mark.parametrize("is_named", [True, False])
def test_a_task_may_forward_settings_that_its_network_needs(is_named: bool) -> None:
    """Its networks are examined as the first ones train."""

    def network(**settings: Any) -> nn.Module:
        return named(**settings) if is_named else mlp(settings["width"])

    def named(*, width: int) -> nn.Module:
        return mlp(width)

    task = Classes(network)
    (ended,) = trainer(task, backend="loop").train([Member(0.1, model={"width": 5})])
    (expected,) = trainer(Classes(partial(mlp, 5)), backend="loop").train([Member(0.1)])

    assert ended.epochs == expected.epochs


class Reset(Classes):
    """A task that gives the same network again, with other numbers."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self._one = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).double()
        self._one[0].requires_grad_(False)

    def model(self, seed: int, **settings: Any) -> nn.Module:
        for layer in (self._one[0], self._one[2]):
            assert isinstance(layer, nn.Linear)
            layer.reset_parameters()
        return self._one


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_a_network_that_is_given_again_has_the_numbers_of_each_member(backend: str) -> None:
    """Its frozen weights, too, are not those of the latest seed."""
    together = trainer(Reset(), backend=backend).train(MEMBERS)
    alone = [trainer(Reset(), backend="loop").train([each])[0] for each in MEMBERS]

    assert difference(together, alone) < 1e-12


def test_a_network_that_the_memory_does_not_hold_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After it was tried alone; numbers of networks are halved until then."""
    sizes: list[int] = []

    def full(self: StackBackend, members: Sequence[Any]) -> Any:
        sizes.append(len(members))
        raise RuntimeError("CUDA error: out of memory")

    subject = trainer(backend="vmap")
    monkeypatch.setattr(StackBackend, "train_epoch", full)
    with (
        pytest.warns(RuntimeWarning, match="no memory to train 3 networks at once") as caught,
        pytest.raises(torch.OutOfMemoryError, match="no memory to train a single network"),
    ):
        subject.train(MEMBERS)

    assert sizes[0] == 3 and sizes[-1] == 1
    assert len(caught) == 1


@pytest.mark.parametrize("backend", ["loop", "vmap", "branches"])
def test_without_momentum_a_state_keeps_no_gradient(backend: str) -> None:
    """As PyTorch's SGD, which has no buffer then: momentum later on begins anew."""
    (ended,) = trainer(backend=backend, epochs=1).train([Member(0.1)])
    assert ended.state is not None
    buffers = ended.state["optimizer"]["momentum_buffer"]

    assert all(not buffer.any() for buffer in buffers.values())

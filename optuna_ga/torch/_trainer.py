"""A generation of any PyTorch network, trained at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from optuna import Trial
from torch import nn

from optuna_ga._checks import check_bool, check_callable, check_choice, check_int
from optuna_ga._pbt.checkpoints import Checkpoints
from optuna_ga.torch._arguments import (
    check_member,
    check_members,
    check_optimizer,
    check_state,
    check_tf32,
    checked_states,
    takes_a_seed_alone,
)
from optuna_ga.torch._data.loader_data import as_data
from optuna_ga.torch._data.tensor_data import TensorData
from optuna_ga.torch._dispatcher import BACKENDS, MakeBackend
from optuna_ga.torch._engine import Engine
from optuna_ga.torch._environment import (
    PRECISIONS,
    Precision,
    checked_device,
    usual_settings,
)
from optuna_ga.torch._groups import AfterEpoch, Trained
from optuna_ga.torch._metrics import Metric
from optuna_ga.torch._objective import GenerationObjective, ValuedEpoch
from optuna_ga.torch._optimizers import OPTIMIZERS
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._schedules import Constant, Schedule, check_factors, check_schedule
from optuna_ga.torch._task import Member, Task, check_task


class PopulationTrainer:
    """Trains the members of a generation at once, whatever the network.

    Each member has its own learning rate, momentum or betas, weight decay, schedule, clipping and
    seed. Members whose settings change the network's shape or the batches train in groups, one
    group after the other. A member's result depends on its settings and seed, not on the others:
    by `vmap`, and on a GPU, within rounding, otherwise to the bit. One that diverges changes no
    other.

    Backends:
        - `loop`: one member after the other, by `torch.optim`; the specification.
        - `threads`: a member on each core.
        - `vmap`: all as one, by `torch.func`; on a GPU each step is a CUDA graph, and on a CPU a
          large generation is as one on each of several cores.
        - `branches`: each by itself, in one CUDA graph of several streams; for networks that
          `vmap` refuses, for few members and for large convolutions.

    "auto" takes the one that is expected to be the fastest, and logs which and why. Data and
    weights stay on the device, and the host waits for it once an epoch. A trainer is for one
    thread of Python at a time.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from torch.nn.functional import mse_loss
        >>> class Line:
        ...     def model(self, seed):
        ...         return nn.Linear(1, 1)
        ...
        ...     def loss(self, model, batch):
        ...         x, y = batch
        ...         return mse_loss(model(x), y)
        ...
        ...     def metrics(self, model, batch):
        ...         x, y = batch
        ...         return {"loss": mse_loss(model(x), y, reduction="sum")}
        >>> x = torch.linspace(0, 1, 32).unsqueeze(1)
        >>> data = TensorData(x, 2 * x + 1, batch_size=8)
        >>> trainer = PopulationTrainer(
        ...     Line(), train=data, validation=data, epochs=20, optimizer="sgd", backend="vmap"
        ... )
        >>> good, bad = trainer.train([Member(0.5), Member(0.001)])
        >>> good.epochs[-1].metrics["loss"] < 0.001 < bad.epochs[-1].metrics["loss"]
        True

    Args:
        task: The network, its loss and its metrics.
        train: The examples to train on; or a `DataLoader`, or anything else with a length that
            yields the batches of an epoch each time it is iterated. All members of a group see a
            loader's batches in its order. They have one shape, but the last may be smaller.
        validation: The examples to evaluate on after each epoch, or a loader of them.
        epochs: Epochs of each training, at least 1.
        optimizer: "sgd", "nesterov", "adam" or "adamw", as in `torch.optim`; but without weight
            decay unless a member has some.
        schedule: Factors of the learning rates; None leaves them constant.
        precision: "float32"; "tf32", on a GPU, for its matrix products; or "bfloat16" for all
            computing but the losses, with weights in float32.
        backend: "auto", or one of the backends.
        device: A PyTorch device. None takes the GPU if there is one, else the CPU.
        show_progress_bar: Whether to show the epochs and the time left, on a terminal or in a
            notebook.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, or if networks cannot be trained
            separately since they share a state. Networks are checked here if `task.model` needs
            but a seed, and otherwise once the first ones train.
    """

    def __init__(
        self,
        task: Task,
        *,
        train: TensorData | Iterable[Any],
        validation: TensorData | Iterable[Any],
        epochs: int,
        optimizer: str = "adamw",
        schedule: Schedule | None = None,
        precision: Precision = "float32",
        backend: str | MakeBackend = "auto",
        device: str | torch.device | None = None,
        show_progress_bar: bool = False,
    ) -> None:
        check_task(task)
        check_schedule(schedule)
        epochs = check_int("epochs", epochs, minimum=1)
        check_optimizer(optimizer, OPTIMIZERS)
        check_choice("precision", precision, PRECISIONS)
        if not callable(backend):  # `FashionMNISTObjective` makes one of its own.
            check_choice("backend", backend, ["auto", *BACKENDS])
        check_bool("show_progress_bar", show_progress_bar)
        place = checked_device(device)
        check_tf32(precision, place)
        schedule = Constant() if schedule is None else schedule
        check_factors(schedule, 0, epochs)
        with usual_settings(place):
            data = {
                name: as_data(name, each, place)
                for name, each in (("train", train), ("validation", validation))
            }
        recipe = Recipe(
            task,
            data["train"],
            data["validation"],
            epochs,
            OPTIMIZERS[optimizer],
            schedule,
            precision,
            place,
        )
        self._engine = Engine(recipe, backend, show_progress_bar)
        if not callable(backend) and takes_a_seed_alone(task.model):
            self._engine.examine_default()

    def objective(
        self,
        suggest: Callable[[Trial], Member],
        *,
        metric: Metric | Sequence[Metric] = "loss",
        value: ValuedEpoch = "last",
        cost: Callable[[Member], float] | None = None,
        checkpoints: Checkpoints | None = None,
        worst: float | Sequence[float] | None = None,
    ) -> GenerationObjective:
        """Return an objective for `optimize_generations`.

        Each trial reports its metric after every epoch, so that pruners work. It records the user
        attributes `training_loss` and `validation_` with the name of each metric, or `diverged`;
        and `training_s`, its share of the seconds that its group took. A trial has a value for
        each metric, and one more with `cost`. If it has several it reports nothing, since Optuna
        prunes trials of a single objective only.

        Args:
            suggest: Called with a trial, whose parameters it suggests; returns its settings.
            metric: Name of the metric to optimize; or a function of the metrics' means by name,
                such as the root of a mean, which returns a number other than NaN; or a sequence of
                names and functions, one for each direction of the study.
            value: "last" values a trial by its last epoch; "best" by its best epoch by the first
                metric, from which all values and user attributes are, and `best_epoch`, counted
                from 1. A diverged trial has the worst value in either case.
            cost: Function of a member's settings whose result is to be minimized beside the
                metrics, such as `multiply_adds`. A diverged trial has its cost too.
            checkpoints: Where each trial leaves its state, and finds its parent's, for
                `GASampler.population_based_training`. A trial goes on with its parent's seed, from
                its last epoch. The state is that of the last epoch, also where `value` is "best".
                None trains each from scratch.
            worst: Value of a trial whose training diverged, and the worst that any trial gets, or
                a sequence of one for each metric; None is infinity, of the worse sign. A warning
                says so if no trial of a generation is better.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If `worst` is NaN or not for each metric, if `value` is another text, if
                `metric` is empty, or if it is known already that the task has no such metric.
        """
        return GenerationObjective(self._engine, suggest, metric, value, cost, checkpoints, worst)

    def multiply_adds(self, member: Member) -> int:
        """Return the multiply-adds of a member's training, the same on every machine.

        Counted are matrix products and convolutions of all steps, forward and backward.
        Evaluation, the optimizer and all that is computed element by element are not. They are
        counted on PyTorch's "meta" device, which computes nothing.

        Args:
            member: Its settings.

        Raises:
            TypeError: If `member` is not a `Member`.
            ValueError: If the training data come from a loader, whose batches are not known
                beforehand, or if `task.loss` cannot be called on the "meta" device.
        """
        check_member(member)
        return self._engine.multiply_adds(member)

    def model(self, member: Member, state: Mapping[str, Any] | None = None) -> nn.Module:
        """Return a member's network on the CPU, a new one by `task.model`, ready for evaluation.

        It has no part in later trainings, and computes in the type of its weights, whatever the
        precision of the trainer.

        Args:
            member: Its settings.
            state: The `Trained.state` whose weights, buffers and frozen parameters it gets; None
                leaves the initial ones.

        Raises:
            TypeError: If `member` is not a `Member`, or `state` not a state.
            ValueError: If the state is that of another network or optimizer.
        """
        check_member(member)
        check_state(state)
        return self._engine.network(member, state)

    def train(
        self,
        members: Sequence[Member],
        *,
        states: Sequence[Mapping[str, Any] | None] | None = None,
        after_epoch: AfterEpoch | None = None,
    ) -> list[Trained]:
        """Train members for all of their epochs.

        Args:
            members: Their settings.
            states: For each member the `Trained.state` to resume; None begins anew.
            after_epoch: Called after each epoch of a group, counted from 1, with what it gave to
                members by their positions, None if they diverged. Returns the positions of
                members to train no further, which keep their state; None stands for no positions.

        Returns:
            The results of the members, in their order.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If networks cannot be trained separately, or not by this backend; or if
                there are not as many states as members.
        """
        check_members(members)
        states = checked_states(states, len(members))
        if after_epoch is not None:
            check_callable("after_epoch", after_epoch)
        starts = [self._engine.start(*pair) for pair in zip(members, states, strict=True)]
        return self._engine.train(starts, after_epoch)

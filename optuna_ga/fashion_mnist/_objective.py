"""The paper's fitness: the validation loss of the network after training (section 4.2)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from optuna import Trial, TrialPruned
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial
from tqdm.auto import tqdm

from optuna_ga._checks import check_bool, check_int
from optuna_ga._running.progress import progress_bar
from optuna_ga._training.checkpoints import Checkpoints
from optuna_ga._training.lineage import parent_to_continue
from optuna_ga.fashion_mnist._data import Data, Images, load_full, load_subset
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._stacked import StackedTrainer
from optuna_ga.fashion_mnist._trainers import (
    Epochs,
    LoopTrainer,
    Member,
    ThreadsTrainer,
    Trainer,
)
from optuna_ga.fashion_mnist._training import (
    LEARNING_RATE_DECAY,
    DivergedError,
    Epoch,
    Precision,
    State,
    evaluate,
    train,
)

PRECISIONS = get_args(Precision)

# Section 5: each sampled uniformly, not by its logarithm.
SEARCH_SPACE: Mapping[str, FloatDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1.0),
    "momentum": FloatDistribution(0.0, 0.9),
    "weight_decay": FloatDistribution(0.0, 0.1),
}


class Score(NamedTuple):
    """How a trained network does on images it has not seen.

    Attributes:
        loss: Mean cross-entropy; infinite if the training diverged.
        accuracy: Fraction classified correctly, in [0, 1]; NaN if the training diverged.
    """

    loss: float
    accuracy: float


class FashionMNISTObjective:
    """Objective that trains the paper's CNN on FashionMNIST and returns its validation loss.

    The value is the loss after the last epoch, not the best on the way, since section 4.2 says
    "after training". The paper does not state the number of epochs; 14 is that of PyTorch's
    MNIST example, from which its other settings come.

    A run whose loss is no longer finite ends at once and returns infinity: it takes its place
    in the generation and ranks last, and every sampler learns where training diverges, which a
    failed trial would hide.

    Every trial starts from the same weights and sees the same batches, so that trials differ by
    their hyperparameters alone; `seed_per_trial` gives each its own. Equal hyperparameters and
    seeds give equal results on the same device with the same number of threads.

    Each trial reports its validation loss after every epoch, so that pruners work, and records
    the user attributes `training_loss` (mean of the last epoch), `validation_loss`,
    `validation_accuracy` and `training_s` (seconds, validation included), or `training_s` and
    `diverged`.

    With `checkpoints` it is for `GASampler.population_based_training`: a trial goes on from the
    weights and momenta of its parent, in the order of images that comes next for the parent's
    seed, and its learning rate is constant, since the search finds the schedule. The validation
    images are the same in every generation. What diverges leaves no state.

    It comes in two forms: `study.optimize(objective)` trains trial by trial, and
    `optimize_generations(study, objective.evaluate_generation, ...)` a generation at a time.

    Args:
        data: "full" for all images, 50,000 / 10,000, which may be downloaded; "subset" for
            6,000 / 2,000 of them that are shipped with the package.
        epochs: Epochs of each training, at least 1.
        n_training_images: Train on the first so many images only, at least 1. None takes all.
        n_validation_images: Evaluate on the first so many validation images only, likewise.
        seed: Seed of initial weights and batches, at least 0.
        seed_per_trial: Whether trial n trains with seed + n instead.
        device: A PyTorch device. None takes the GPU if there is one, else the CPU.
        folder: Where to look for the full data first, and to download it to. After that come
            the folder that FASHION_MNIST_DIR names, and Debian's package dataset-fashion-mnist.
        precision: "float32"; "tf32", on a GPU, for its matrix products; or "bfloat16" for all
            computing but weights and losses, much faster where the processor has it and far
            slower where it has not.
        dropout: Whether to train with the dropout of PyTorch's MNIST example, with the same
            masks for every trial of a seed.
        checkpoints: Where a trial leaves its state, and finds its parent's. None trains each
            from scratch. With `Checkpoints()` the states of a generation stay on the device.
        show_progress_bar: Whether to show the epochs of a training, or of a generation's, and the
            time left, on a terminal or in a notebook.

    Raises:
        TypeError: If an argument has the wrong type; a bool is no number.
        ValueError: If an argument is out of its range, or the data are damaged.
        FileNotFoundError: If the full data are nowhere and cannot be downloaded.
    """

    def __init__(
        self,
        data: str = "full",
        *,
        epochs: int = 14,
        n_training_images: int | None = None,
        n_validation_images: int | None = None,
        seed: int = 0,
        seed_per_trial: bool = False,
        device: str | torch.device | None = None,
        folder: str | Path | None = None,
        precision: Precision = "float32",
        dropout: bool = False,
        checkpoints: Checkpoints | None = None,
        show_progress_bar: bool = False,
    ) -> None:
        if data not in ("full", "subset"):
            raise ValueError(f'`data` must be "full" or "subset", but {data!r} was given.')
        self._epochs = check_int("epochs", epochs, minimum=1)
        self._seed = check_int("seed", seed, minimum=0)
        self._seed_per_trial = check_bool("seed_per_trial", seed_per_trial)
        self._n_images = {"training": n_training_images, "validation": n_validation_images}
        for part, n in self._n_images.items():
            if n is not None:
                check_int(f"n_{part}_images", n, minimum=1)
        self._device = _device(device)
        if precision not in PRECISIONS:
            raise ValueError(
                f"`precision` must be one of {PRECISIONS}, but {precision!r} was given."
            )
        if precision == "tf32" and self._device.type != "cuda":
            raise ValueError(f"`precision` must not be 'tf32' on a device like {self._device}.")
        self._precision: Precision = precision
        self._dropout = check_bool("dropout", dropout)
        if not isinstance(checkpoints, Checkpoints | None):
            raise TypeError(
                f"`checkpoints` must be a `Checkpoints` or None, but {checkpoints!r} was given."
            )
        self._checkpoints = checkpoints
        self._show_progress_bar = check_bool("show_progress_bar", show_progress_bar)
        self._trainer: Trainer | None = None
        self._name = data
        self._folder = None if folder is None else Path(folder)
        loaded = self._all_data()._asdict()  # What is amiss shows up here.
        for part, n in self._n_images.items():
            n_available = len(loaded[part].labels)
            if n is not None and n > n_available:
                raise ValueError(
                    f"`n_{part}_images` must be at most {n_available}, the {part} images of "
                    f'"{data}", but {n!r} was given.'
                )

    @property
    def device(self) -> torch.device:
        """Where the training runs."""
        return self._device

    def __call__(self, trial: Trial) -> float:
        """Train with the trial's hyperparameters and return the validation loss.

        Raises:
            optuna.TrialPruned: If the study's pruner says so after an epoch but the last.
        """
        (result,) = self._evaluate([trial], self._new_trainer(LoopTrainer))
        if isinstance(result, TrialPruned):
            raise result
        return result

    def evaluate_generation(self, trials: Sequence[Trial]) -> list[float | TrialPruned]:
        """Train a whole generation together and return a result for each trial.

        This is the form for `optimize_generations`. It records what calling the objective trial
        by trial records, and the losses are the same up to rounding, which a long training in
        float32 amplifies. A trial's `training_s` is its share of the time.

        On a GPU networks of one seed are stacked, in chunks of up to 16, and trained as CUDA
        graphs; on a CPU each core trains a network.

        Args:
            trials: The trials, whose hyperparameters are suggested here.

        Returns:
            For each trial its validation loss, infinity if it diverged, or an
            `optuna.TrialPruned` if the study's pruner ended it.
        """
        if self._trainer is None:
            kind = StackedTrainer if self._device.type == "cuda" else ThreadsTrainer
            self._trainer = self._new_trainer(kind)
        return self._evaluate(trials, self._trainer)

    def test(self, params: Mapping[str, float], seed: int | None = None) -> Score:
        """Train with these hyperparameters and score the network on the official test images.

        This is for the final answer of a search. Whoever chooses by it has no test set left.

        Args:
            params: A value for each name of `SEARCH_SPACE`.
            seed: Seed of initial weights and batches. None takes the objective's.

        Raises:
            ValueError: If a name is missing or unknown, if the data are the subset, which has
                no test images, or if the objective has checkpoints: `test_trained` is for these.
        """
        test = self._test_images()
        if self._checkpoints is not None:
            raise ValueError(
                "`checkpoints` must be None to train anew for a test score, but "
                f"{self._checkpoints!r} was given. `test_trained` scores a trained network."
            )
        if set(params) != set(SEARCH_SPACE):
            raise ValueError(
                f"`params` must have the names {sorted(SEARCH_SPACE)}, but {dict(params)!r} was "
                "given."
            )
        seed = self._seed if seed is None else check_int("seed", seed, minimum=0)
        network = initial_network(seed, self._device)
        data = self._data()
        try:
            for _ in train(
                network,
                data.training,
                data.validation,
                learning_rate=params["learning_rate"],
                momentum=params["momentum"],
                weight_decay=params["weight_decay"],
                epochs=self._epochs,
                seed=seed,
                precision=self._precision,
                dropout=self._dropout,
            ):
                pass
            return Score(*evaluate(network, test, self._precision))
        except DivergedError:
            return Score(math.inf, math.nan)

    def test_trained(self, trial: FrozenTrial) -> Score:
        """Score the network that a trial has left in `checkpoints` on the official test images.

        For the final answer of population-based training, as `test` is for that of other
        searches.

        Args:
            trial: The trial, such as `best_of_final_generation` returns it.

        Raises:
            FileNotFoundError: If it left none, since it diverged, or if it is no longer there.
            TypeError: If `trial` is no `optuna.trial.FrozenTrial`.
            ValueError: If the data are the subset, or if the objective has no checkpoints.
        """
        test = self._test_images()
        if self._checkpoints is None:
            raise ValueError("`checkpoints` must be given to the objective for a trained network.")
        state = State(**self._checkpoints.load(trial, self._device))
        network = initial_network(state.seed, self._device)
        network.load_state_dict(state.weights)
        return Score(*evaluate(network, test, self._precision))

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings; a worker makes its own trainer and loads its own data."""
        return {**self.__dict__, "_trainer": None}

    def _test_images(self) -> Images:
        test = self._data().test
        if test is None:
            raise ValueError('`data` must be "full" for a test score, but "subset" was given.')
        return test

    def _data(self) -> Data:
        """Return the images to train and to evaluate on."""
        data = self._all_data()
        return data._replace(
            training=data.training.take(slice(self._n_images["training"])),
            validation=data.validation.take(slice(self._n_images["validation"])),
        )

    def _all_data(self) -> Data:
        """Return the data, which are loaded once per process and never pickled."""
        if self._name == "full":
            return load_full(self._folder, self._device)
        return load_subset(self._device)

    def _evaluate(self, trials: Sequence[Trial], trainer: Trainer) -> list[float | TrialPruned]:
        members = [self._member(trial) for trial in trials]
        data = self._data()
        words = f"training {len(members)} network{'s' * (len(members) > 1)}"
        with progress_bar(
            self._show_progress_bar, total=self._epochs, desc=words, unit="epoch", leave=False
        ) as progress:
            reporter = _Reporter(trials, self._epochs, progress)
            states = trainer.train(
                members, data.training, data.validation, self._epochs, reporter.after_epoch
            )
        if self._checkpoints is not None:
            for trial, state in zip(trials, states, strict=True):
                if state is not None:
                    self._checkpoints.save(trial, state._asdict())
        return reporter.results

    def _new_trainer(self, kind: Callable[..., Trainer]) -> Trainer:
        return kind(
            self._device,
            precision=self._precision,
            dropout=self._dropout,
            learning_rate_decay=LEARNING_RATE_DECAY if self._checkpoints is None else 1.0,
        )

    def _member(self, trial: Trial) -> Member:
        rate, momentum, decay = (
            trial.suggest_float(name, distribution.low, distribution.high)
            for name, distribution in SEARCH_SPACE.items()
        )
        start = self._start(trial)
        if start is not None:
            return Member(rate, momentum, decay, start.seed, start)
        seed = self._seed + trial.number if self._seed_per_trial else self._seed
        return Member(rate, momentum, decay, seed)

    def _start(self, trial: Trial) -> State | None:
        """Return what the trial goes on from, if it does."""
        if self._checkpoints is None:
            return None
        parent = parent_to_continue(trial)
        if parent is None:
            return None
        return State(**self._checkpoints.load(parent, self._device))


class _Reporter:
    """Reports what each epoch gives to the trials, and prunes."""

    def __init__(self, trials: Sequence[Trial], epochs: int, progress: tqdm[Any]) -> None:
        self.results: list[float | TrialPruned] = [math.inf] * len(trials)
        self._trials = trials
        self._epochs = epochs
        self._progress = progress
        self._epoch = 0
        self._seconds = [0.0] * len(trials)
        self._start = time.perf_counter()

    def after_epoch(self, ended: Epochs) -> Collection[int]:
        """Report and record; return the positions of pruned trials."""
        self._epoch += 1
        share = (time.perf_counter() - self._start) / len(ended)
        for position, epoch in ended.items():
            self._seconds[position] += share
            if epoch is not None:
                self._trials[position].report(epoch.validation_loss, step=self._epoch)
        pruned = {position for position, epoch in ended.items() if self._end(position, epoch)}
        self._progress.update()
        self._start = time.perf_counter()
        return pruned

    def _end(self, position: int, epoch: Epoch | None) -> bool:
        """Record the trial's last epoch, if it was, and return whether that is by pruning."""
        trial = self._trials[position]
        is_last = self._epoch == self._epochs
        pruned = epoch is not None and not is_last and trial.should_prune()
        if epoch is None:
            trial.set_user_attr("diverged", True)
        elif pruned or is_last:
            self.results[position] = TrialPruned() if pruned else epoch.validation_loss
            for name, value in epoch._asdict().items():
                trial.set_user_attr(name, value)
        if epoch is None or pruned or is_last:
            trial.set_user_attr("training_s", self._seconds[position])
        return pruned


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"`device` must be a device that PyTorch can use here, but {device!r} was given: "
            f"{error}"
        ) from error

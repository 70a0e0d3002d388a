"""`FashionMNISTObjective`: the paper's fitness, a validation loss after training (section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from optuna import Trial
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from torch import nn

from optuna_ga._checks import MAX_TRAINING_SEED, check_bool, check_choice, check_int
from optuna_ga._pbt.checkpoints import Checkpoints, check_checkpoints
from optuna_ga.fashion_mnist._data import Images
from optuna_ga.fashion_mnist._image_source import ImageSource
from optuna_ga.fashion_mnist._paper_trainer import paper_trainer
from optuna_ga.fashion_mnist._search_space import SearchSpace
from optuna_ga.fashion_mnist._training import LEARNING_RATE_DECAY, DivergedError, evaluate
from optuna_ga.torch._arguments import check_tf32
from optuna_ga.torch._environment import PRECISIONS, Precision, checked_device, usual_settings
from optuna_ga.torch._objective import GenerationObjective
from optuna_ga.torch._task import Member
from optuna_ga.torch._trainer import PopulationTrainer

DIVERGED_LOSS = 2 * math.log(10)


class Score(NamedTuple):
    """The performance of a trained network on unseen images.

    Attributes:
        loss: Mean cross-entropy in nats; infinite if the training diverged.
        accuracy: Fraction of correct classifications, in [0, 1]; NaN if the training diverged.
    """

    loss: float
    accuracy: float


_DIVERGED = Score(math.inf, math.nan)


class FashionMNISTObjective:
    """Objective that trains the paper's CNN on FashionMNIST and returns its validation loss.

    Use it in one of two forms: `study.optimize(objective)` trains trial by trial, and
    `optimize_generations(study, objective.evaluate_generation, ...)` a generation at a time.

    - The value is the loss after the last epoch, not the best of all epochs: section 4.2 says
      "after training". The paper does not state the number of epochs. 14 is that of PyTorch's
      MNIST example, the source of the paper's other settings.
    - A training that diverges ends at once, and its value is `DIVERGED_LOSS`, twice the loss of
      guessing. The trial counts in its generation and ranks last, and every sampler learns where
      training diverges, which a failed trial would hide. A higher loss is cut to this, in value
      and reports, so that figures of the study stay legible.
    - All trials start from the same weights and see the same batches, so they differ by their
      hyperparameters alone; see `seed_per_trial`. Equal hyperparameters and seeds give equal
      results on the same device with the same number of threads.
    - Each trial reports its validation loss after every epoch, so pruners work. It records the
      user attributes `training_loss` (mean of the last epoch), `validation_loss` (not cut),
      `validation_accuracy` and `training_s` (seconds, validation included); if it diverged,
      `training_s` and `diverged`.

    With `checkpoints` the objective is for `GASampler.population_based_training`. A trial resumes
    training with its parent's weights and momenta, and with the next batches of the parent's seed.
    The learning rate is constant within a trial, since the search finds the schedule. The
    validation images are the same in every generation. A diverged trial saves no state.

    With `cost` a trial has the paper's two metrics as values, for a study with two directions to
    minimize: the loss, and the multiply-adds of the training, which are the same on every
    machine. The search space gains what these can be traded by: `width`, the channels of the
    first layer, and `epochs`, up to those of the objective. Nothing is reported, since Optuna
    prunes trials of a single objective only. A diverged trial has its cost too.

    Other images and networks are what `optuna_ga.torch.PopulationTrainer` is for.

    Args:
        data: "full" for all images, 50,000 / 10,000, which may be downloaded; or "subset" for the
            6,000 / 2,000 that ship with the package.
        epochs: Number of epochs of each training, at least 1.
        n_training_images: Number of training images, at least 1: the first of the data. None
            takes all.
        n_validation_images: Number of validation images, likewise.
        seed: Seed of initial weights and batches, 0 to 2**63 - 1.
        seed_per_trial: Whether trial n trains with the seed `seed + n`.
        device: A PyTorch device. None takes the GPU if there is one, else the CPU.
        folder: Folder to look in for the full data first, and to download them to. The next are
            the folder named by FASHION_MNIST_DIR and that of Debian's package
            dataset-fashion-mnist.
        precision: "float32"; "tf32" for matrix products in TF32, on a GPU only; or "bfloat16" for
            all computation but weights and losses, which is much faster on processors that
            support it and far slower on others. None takes "bfloat16" on a GPU, where it ranks
            settings as float32 does, and "float32" elsewhere.
        dropout: Whether to train with the dropout of PyTorch's MNIST example. Trials with the
            same seed have the same masks.
        cost: Whether a trial has the cost of its training as a second value, in multiply-adds.
        checkpoints: Where trials save their states and load their parents'. None trains each
            trial from scratch. `Checkpoints()` without a folder keeps the states on the device.
        show_progress_bar: Whether to show the epochs of the current training or generation and
            the time left, on a terminal or in a notebook.

    Raises:
        TypeError: If an argument has the wrong type; a bool is not a number.
        ValueError: If an argument is out of range, or if the data are damaged.
        FileNotFoundError: If the full data are not found and cannot be downloaded.
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
        precision: Precision | None = None,
        dropout: bool = False,
        cost: bool = False,
        checkpoints: Checkpoints | None = None,
        show_progress_bar: bool = False,
    ) -> None:
        self._epochs = check_int("epochs", epochs, minimum=1)
        self._seed = _checked_seed(seed)
        self._seed_per_trial = check_bool("seed_per_trial", seed_per_trial)
        self._device = checked_device(device)
        self._precision = _checked_precision(precision, self._device)
        self._dropout = check_bool("dropout", dropout)
        check_checkpoints(checkpoints)
        self._checkpoints = checkpoints
        self._search_space = SearchSpace(self._epochs, cost=check_bool("cost", cost))
        if cost and checkpoints is not None:
            raise ValueError(
                "`checkpoints` must be None with `cost`, whose trials have a single objective, "
                f"but {checkpoints!r} was given."
            )
        self._show_progress_bar = check_bool("show_progress_bar", show_progress_bar)
        self._evaluators: dict[str | None, GenerationObjective] = {}  # By their backends.
        self._images = ImageSource(
            data, folder, n_training_images, n_validation_images, self._device
        )

    @property
    def device(self) -> torch.device:
        """Device of the training."""
        return self._device

    @property
    def precision(self) -> Precision:
        """The precision of computing."""
        return self._precision

    @property
    def search_space(self) -> dict[str, FloatDistribution | IntDistribution]:
        """The hyperparameters that trials suggest: `SEARCH_SPACE`, and more with `cost`."""
        return {**self._search_space.distributions}

    def __call__(self, trial: Trial) -> float | tuple[float, ...]:
        """Train with the trial's hyperparameters and return the validation loss.

        With `cost` the loss and the multiply-adds of the training are returned.

        Raises:
            optuna.TrialPruned: If the study's pruner stops the trial before its last epoch.
            ValueError: If the study's directions are not "minimize", once or, with `cost`, twice.
        """
        (result,) = self._evaluate([trial], "loop")
        if isinstance(result, Exception):
            raise result
        return result

    def evaluate_generation(
        self, trials: Sequence[Trial]
    ) -> Sequence[float | tuple[float, ...] | Exception]:
        """Train a whole generation together and return one result per trial.

        Pass this method to `optimize_generations`. Reports, attributes and losses are those of
        calling the objective trial by trial, up to rounding, which a long training in float32
        amplifies. `training_s` is the trial's share of the generation's time.

        On a GPU, networks with the same seed train in chunks of up to 16 as CUDA graphs. On a CPU,
        each core trains one network at a time.

        Args:
            trials: Running trials, whose hyperparameters this method suggests.

        Returns:
            A result for each trial: its validation loss, `DIVERGED_LOSS` if the training diverged
            or the loss is higher, or an `optuna.TrialPruned` if the study's pruner stopped the
            trial. With `cost` the loss and the multiply-adds of the training.

        Raises:
            ValueError: If the study's directions are not "minimize", once or, with `cost`, twice.
        """
        return self._evaluate(trials, None)

    def test(self, params: Mapping[str, float], seed: int | None = None) -> Score:
        """Train a network with the given hyperparameters and score it on the official test images.

        Use it once, for the final answer of a search: test images that select hyperparameters are
        no test images any more.

        Args:
            params: A value for each name of `search_space`.
            seed: Seed of initial weights and batches, 0 to 2**63 - 1. None takes the objective's.

        Raises:
            ValueError: If `params` lacks a name or has an unknown one; if `data` is "subset",
                which has no test images; or if the objective has checkpoints, which need
                `test_trained`.
        """
        test = self._images.test_images()
        if self._checkpoints is not None:
            raise ValueError(
                "`checkpoints` must be None to train from scratch for a test score, but "
                f"{self._checkpoints!r} was given. Use `test_trained` to score a trained network."
            )
        seed = self._seed if seed is None else _checked_seed(seed)
        member = self._search_space.member(params, seed)
        trainer = self._trainer("loop")
        (trained,) = trainer.train([member])
        if trained.state is None:
            return _DIVERGED
        return self._score(trainer.model(member, trained.state), test)

    def test_trained(self, trial: FrozenTrial) -> Score:
        """Score a trial's saved network on the official test images.

        Use it once, for the final answer of population-based training.

        Args:
            trial: A trial with a state in `checkpoints`, such as the result of
                `best_of_final_generation`.

        Returns:
            The score, as of a training that diverged if the weights overflow on these images.

        Raises:
            FileNotFoundError: If the trial saved no state because it diverged, or if the state
                was removed.
            TypeError: If `trial` is not an `optuna.trial.FrozenTrial`.
            ValueError: If `data` is "subset", which has no test images, or if the objective has
                no checkpoints.
        """
        test = self._images.test_images()
        if self._checkpoints is None:
            raise ValueError(
                "`checkpoints` must be given to score a trained network, but None was given."
            )
        state = self._checkpoints.load(trial, self._device)
        trainer = self._trainer("loop")
        return self._score(trainer.model(Member(0.0, seed=state["seed"]), state), test)

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings; a worker process creates its own trainer and loads its own data."""
        return {**self.__dict__, "_evaluators": {}}

    def _score(self, network: nn.Module, test: Images) -> Score:
        """Return the score of a trained network on the test images."""
        try:
            with usual_settings(self._device):
                return Score(*evaluate(network.to(self._device), test, self._precision))
        except DivergedError:  # Finite weights may overflow on other images.
            return _DIVERGED

    def _evaluate(
        self, trials: Sequence[Trial], backend: str | None
    ) -> Sequence[float | tuple[float, ...] | Exception]:
        for study in {id(trial.study): trial.study for trial in trials}.values():
            self._search_space.check_directions(study)
        if backend not in self._evaluators:
            trainer = self._trainer(backend)
            self._evaluators[backend] = trainer.objective(
                self._member,
                cost=trainer.multiply_adds if self._search_space.has_cost else None,
                checkpoints=self._checkpoints,
                worst=DIVERGED_LOSS,
            )
        return self._evaluators[backend](trials)

    def _trainer(self, backend: str | None) -> PopulationTrainer:
        return paper_trainer(
            self._images.data(),
            self._epochs,
            backend=backend,
            precision=self._precision,
            dropout=self._dropout,
            learning_rate_decay=LEARNING_RATE_DECAY if self._checkpoints is None else 1.0,
            show_progress_bar=self._show_progress_bar,
            widths_differ=self._search_space.has_cost,
        )

    def _member(self, trial: Trial) -> Member:
        seed = self._seed + trial.number if self._seed_per_trial else self._seed
        return self._search_space.member(self._search_space.suggest(trial), seed)


def _checked_seed(seed: int) -> int:
    return check_int("seed", seed, minimum=0, maximum=MAX_TRAINING_SEED)


def _checked_precision(precision: Precision | None, device: torch.device) -> Precision:
    if precision is None:
        return "bfloat16" if device.type == "cuda" else "float32"
    check_choice("precision", precision, PRECISIONS)
    check_tf32(precision, device)
    return precision

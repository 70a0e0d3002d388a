"""What a later trial continues from, kept where the workers reach it."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna import Trial
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._optuna_internals import CHECKPOINT, locate, stored
from optuna_ga._training.checkpoint_stores import InMemory, InStore, States
from optuna_ga._training.lineage import continuing_sampler, outdated

_METHODS = ("open_reader", "write", "remove")

_logger = optuna.logging.get_logger("optuna.checkpoints")


class Checkpoints:
    """Keeps the states of a population in training, for `GASampler.population_based_training`.

    An objective saves what it has trained before it returns, and its children load that. A state
    is made of tensors, numbers, strings, bytes, None, and dictionaries, lists and tuples of
    these, such as the `state_dict()` of a model and of an optimizer. It is written and read by
    PyTorch, which must be installed; reading runs no pickled code.

    A state is known by its trial: what is saved again, since the trial was evaluated again after
    a kill, takes the place of what there was. A trial shows the attribute `ga_checkpoint` as soon
    as its state is in the store, and only then can it become a parent, so that workers may share
    a store. States that no trial can need any more are removed when another is saved: about
    those of three generations are kept, and the parents of running trials. Whoever wants one for
    longer copies it. Removed are only states that were saved for trials of the same study; a copy
    of it goes on from these as well, and needs another name so as not to remove them.

    Example:
        >>> import optuna
        >>> from optuna_ga import Checkpoints, GASampler, parent_to_continue
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> checkpoints = Checkpoints()
        >>> def objective(trial):
        ...     parent = parent_to_continue(trial)
        ...     x = 0.0 if parent is None else checkpoints.load(parent)["x"]
        ...     x += trial.suggest_float("step", -1, 1)  # A network's training goes here.
        ...     checkpoints.save(trial, {"x": x})
        ...     return (x - 3) ** 2
        >>> sampler = GASampler.population_based_training(population_size=10, seed=0)
        >>> study = optuna.create_study(sampler=sampler)
        >>> study.optimize(objective, n_trials=100)
        >>> study.best_value < 0.1  # No single step gets that far.
        True

    Args:
        store: A folder, made if need be, or a store of `optuna.artifacts`, such as
            `Boto3ArtifactStore`, that all workers reach; Optuna's `Backoff` around that one would
            repeat every removal ten times. None keeps states in this process, on the devices
            where they are, as long as the study's storage is open: fast, but a run that is killed
            cannot be continued.

    Raises:
        TypeError: If `store` is none of these. Also when one without a store is pickled, as for
            another process.
    """

    def __init__(self, store: Any = None) -> None:
        if isinstance(store, (str, Path)):
            Path(store).mkdir(parents=True, exist_ok=True)
            store = FileSystemArtifactStore(store)
        if store is not None and not all(callable(getattr(store, m, None)) for m in _METHODS):
            raise TypeError(
                "`store` must be a folder, a store of `optuna.artifacts` or None, but "
                f"{store!r} was given."
            )
        self._states: States = InMemory() if store is None else InStore(store)
        self._start_memory()

    def save(self, trial: Trial, state: Any) -> None:
        """Save the state of a running trial, and remove those that are no longer needed.

        What cannot be removed stays, with a warning in Optuna's log.

        Args:
            trial: The trial.
            state: What a child is to continue from.

        Raises:
            ImportError: If PyTorch is not installed.
            TypeError: If `trial` is no running trial, or if the state has something in it that
                could not be read without running pickled code. Nothing is written then.
            ValueError: If the study's sampler does not have trials continue.
        """
        if not isinstance(trial, Trial) or stored(trial).state != TrialState.RUNNING:
            raise TypeError(f"`trial` must be a running `optuna.Trial`, but {trial!r} was given.")
        study = trial.study
        continuing_sampler(study)
        key = _key(study, trial)
        storage, _ = locate(study)
        self._states.put(storage, key, state)
        trial.set_user_attr(CHECKPOINT, key)  # Last: it says that the state can be loaded.
        self._clean(study, trial.number)

    def load(self, trial: FrozenTrial, map_location: Any = None) -> Any:
        """Return a copy of the state that was saved for a trial.

        Optimizers' states hold the parent's hyperparameters: after `load_state_dict`, set the
        child's anew.

        Args:
            trial: The trial, such as `parent_to_continue` returns it.
            map_location: A device for the tensors. None leaves them where they were in this
                process, and reads them from a store to the CPU.

        Raises:
            FileNotFoundError: If there is no state of the trial, or no longer.
            ImportError: If PyTorch is not installed.
            TypeError: If `trial` is no `optuna.trial.FrozenTrial`.
            ValueError: If what is in its place is damaged, or was saved for another trial.
        """
        if not isinstance(trial, FrozenTrial):
            raise TypeError(f"`trial` must be a `FrozenTrial`, but {trial!r} was given.")
        key = trial.user_attrs.get(CHECKPOINT)
        if not isinstance(key, str):
            raise FileNotFoundError(f"No state of trial {trial.number} was saved.")
        subject = f"The state of trial {trial.number}, {key!r},"
        try:
            return self._states.get(key, map_location)
        except KeyError:
            raise FileNotFoundError(
                f"{subject} is not there: it was saved in another store or, without one, in "
                "another process; or it was removed since no later trial needed it, which takes "
                "that `population_size` stays what it was."
            ) from None
        except ValueError as error:
            raise ValueError(f"{subject} {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Return where the states are; what was removed may be tried again."""
        return {"_states": self._states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the store."""
        self.__dict__.update(state)
        self._start_memory()

    def _start_memory(self) -> None:
        self._lock = threading.Lock()
        self._removed: WeakKeyDictionary[BaseStorage, dict[int, set[int]]] = WeakKeyDictionary()

    def _clean(self, study: Study, number: int) -> None:
        storage, study_id = locate(study)
        with self._lock:
            removed = self._removed.setdefault(storage, {}).setdefault(study_id, set())
        for trial in outdated(study, number):
            if trial.number in removed:
                continue
            removed.add(trial.number)
            key = str(trial.user_attrs.get(CHECKPOINT))
            if not key.startswith(_prefix(study)):  # A copied study's are another's.
                continue
            try:
                self._states.remove(storage, key)
            except Exception as error:  # What has trained is not to be lost by it.
                _logger.warning(
                    f"The state of trial {trial.number}, {key!r}, which is no longer needed, "
                    f"could not be removed: {error!r}"
                )


def _key(study: Study, trial: Trial) -> str:
    # The start tells it from the trial of this number in a copy of the study by the same name, or
    # in another study that had the name before.
    return f"{_prefix(study)}{_hashed(trial.datetime_start)}-{trial.number}"


def _prefix(study: Study) -> str:
    return f"ga-{_hashed(study.study_name)}-"


def _hashed(thing: object) -> str:
    return hashlib.blake2b(str(thing).encode(), digest_size=6).hexdigest()

"""`Checkpoints`: saves the state that a trial's children resume training from."""

from __future__ import annotations

import hashlib
import re
import threading
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna import Trial
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._checks import shown
from optuna_ga._optuna_internals import locate, stored
from optuna_ga._pbt.checkpoint_stores import ArtifactStateStore, MemoryStateStore, StateStore
from optuna_ga._pbt.lineage import (
    continuing_breeder,
    parents_by_fitness,
    unneeded_trials,
)
from optuna_ga._pbt.state_folder import StateFolder
from optuna_ga._records import CHECKPOINT, record_lost

_KEY = re.compile("ga-[0-9a-f]{12}-[0-9a-f]{12}-[0-9]+")  # It is a safe name of a file.
_ARTIFACT_STORE_METHODS = ("open_reader", "write", "remove")

# The number of a trial, and when it started: databases give the ids of deleted studies again.
_Start = tuple[int, datetime | None]

_logger = optuna.logging.get_logger("optuna.checkpoints")


class Checkpoints:
    """Stores training states for `GASampler.population_based_training`.

    The objective loads the state that the trial resumes, if any, and saves the trial's own before
    it returns. A state consists of tensors, numbers, strings, bytes, None, and dictionaries, lists
    and tuples of them, such as the `state_dict()` of a model and of an optimizer. PyTorch must be
    installed: it writes and reads the states. Loading a state runs no pickled code.

    - Each trial has one state. A trial that is evaluated again, after a kill, overwrites it.
    - A trial gets the attribute `ga_checkpoint` once its state is stored, and only then can it
      become a parent. Any number of workers may therefore share a store.
    - Saving a state removes the states of the same study that no trial can need any more. The
      store keeps about three generations and the parents of running trials. Copy a state that
      you need for longer.
    - A copied study reads the original's states. Give the copy another name, or it will delete
      them.

    Example:
        >>> import optuna
        >>> from optuna_ga import Checkpoints, GASampler
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> checkpoints = Checkpoints()
        >>> def objective(trial):
        ...     state = checkpoints.load_parent(trial)
        ...     x = 0.0 if state is None else state["x"]
        ...     x += trial.suggest_float("step", -1, 1)  # Train a network here.
        ...     checkpoints.save(trial, {"x": x})
        ...     return (x - 3) ** 2
        >>> sampler = GASampler.population_based_training(population_size=10, seed=0)
        >>> study = optuna.create_study(sampler=sampler)
        >>> study.optimize(objective, n_trials=100)
        >>> study.best_value < 0.1  # A single step reaches 4.0 at best.
        True

    Args:
        store: A folder, which is created if necessary, or a store of `optuna.artifacts`, such as
            `Boto3ArtifactStore`. All workers must be able to reach it. In a folder files appear
            when they are whole, and only their owner can read them. Avoid `Backoff` around a
            `Boto3ArtifactStore`: it would repeat each removal ten times. None keeps the states in
            this process, on their devices, while the study's storage is open; this is fast, but
            a killed run cannot be resumed.

    Raises:
        OSError: If the folder cannot be created.
        TypeError: If `store` is neither a folder, an artifact store nor None. Pickling a
            `Checkpoints()` without a store raises it too.
        ValueError: If `store` is an address such as "s3://bucket", the empty string or a file.
    """

    def __init__(self, store: Any = None) -> None:
        if isinstance(store, (str, Path)):
            store = StateFolder(_local_folder(store))
        if store is not None and not _is_artifact_store(store):
            raise TypeError(
                "`store` must be a folder, a store of `optuna.artifacts` or None, but "
                f"{shown(store)} was given."
            )
        self._store: StateStore = (
            MemoryStateStore() if store is None else ArtifactStateStore(store)
        )
        self._start_memory()

    def save(self, trial: Trial, state: Any) -> None:
        """Save the state of a running trial, then remove the states that no trial needs any more.

        A failed removal is logged as a warning, and the state stays.

        Args:
            trial: The running trial.
            state: The state from which the trial's children resume; see the class.

        Raises:
            ImportError: If PyTorch is not installed.
            OSError: If a folder's file cannot be written, such as on a full disk.
            TypeError: If `trial` is not a running trial, or if `state` contains an object that
                cannot be loaded without running pickled code. Nothing is written then.
            ValueError: If the study's sampler is not `GASampler.population_based_training`.
        """
        _check_running(trial)
        study = trial.study
        continuing_breeder(study)
        key = _key(study, trial)
        storage, _ = locate(study)
        self._store.put(storage, key, state)
        # After the state: the attribute tells other workers that they can load it.
        trial.set_user_attr(CHECKPOINT, key)
        self._remove_unneeded(study, trial.number)

    def load_parent(self, trial: Trial, map_location: Any = None) -> Any:
        """Return a copy of the state that a running trial resumes, that of its fitter parent.

        A state that is lost or damaged is passed over with a warning: the trial resumes from its
        other parent, or if it has no other it trains from scratch with the parameters that it has
        inherited. Its attribute `ga_lost_parents` lists such parents.

        Args:
            trial: The running trial.
            map_location: Device for the tensors, as for `load`.

        Returns:
            The state; None if the trial trains from scratch, as all trials of generation 0 do.

        Raises:
            OSError: If a state is there but cannot be read, such as from a server that is down.
            ImportError: If PyTorch is not installed.
            TypeError: If `trial` is not a running trial.
            ValueError: If the study's sampler is not `GASampler.population_based_training`.
        """
        _check_running(trial)
        state, lost = None, []
        parents = parents_by_fitness(trial)
        for parent in parents:
            try:
                state = self.load(parent, map_location)
                break
            except (FileNotFoundError, ValueError) as error:
                lost.append(parent.number)
                _logger.warning(f"Trial {trial.number} passes over its parent: {error}")
        if parents and len(lost) == len(parents):
            _logger.warning(
                f"Trial {trial.number} trains from scratch, since no parent's state is left."
            )
        record_lost(trial.study, stored(trial.study, trial), lost)
        return state

    def load(self, trial: FrozenTrial, map_location: Any = None) -> Any:
        """Return a copy of the state that was saved for a trial.

        An optimizer's state holds the parent's hyperparameters. Set the child's hyperparameters
        again after `load_state_dict`.

        Args:
            trial: The trial, such as the result of `best_of_final_generation`.
            map_location: Device for the tensors. None leaves the tensors of `Checkpoints()` on
                their devices, and reads those of a store to the CPU.

        Raises:
            FileNotFoundError: If the trial saved no state, or if it was removed.
            OSError: If the state cannot be read.
            ImportError: If PyTorch is not installed.
            TypeError: If `trial` is not an `optuna.trial.FrozenTrial`.
            ValueError: If the stored state is damaged, or belongs to another trial.
        """
        if not isinstance(trial, FrozenTrial):
            raise TypeError(f"`trial` must be a `FrozenTrial`, but {shown(trial)} was given.")
        key = _shown_key(trial)
        if key is None:
            raise FileNotFoundError(f"Trial {trial.number} has saved no state with `Checkpoints`.")
        subject = f"The state of trial {trial.number}, {key!r},"
        try:
            return self._store.get(key, map_location)
        except KeyError:
            raise FileNotFoundError(
                f"{subject} does not exist. Either it was saved in another store, or by "
                "`Checkpoints()` in another process; or it was removed because no later trial "
                "needed it, which requires that `population_size` does not change. To go on, put "
                "it back, or call `load_parent` in the objective, which passes over lost states."
            ) from None
        except ValueError as error:
            raise ValueError(f"{subject} {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Return the store alone; another process may try the same removals again."""
        return {"_store": self._store}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the store."""
        self.__dict__.update(state)
        self._start_memory()

    def _start_memory(self) -> None:
        self._lock = threading.Lock()
        self._removed: WeakKeyDictionary[BaseStorage, dict[int, set[_Start]]] = WeakKeyDictionary()

    def _remove_unneeded(self, study: Study, number: int) -> None:
        storage, study_id = locate(study)
        with self._lock:
            removed = self._removed.setdefault(storage, {}).setdefault(study_id, set())
        for trial in unneeded_trials(study, number):
            start = trial.number, trial.datetime_start
            if start in removed:
                continue
            key = _removable_key(study, trial)
            try:
                if key is not None:
                    self._store.remove(storage, key)
            except Exception as error:  # The trial has been trained, so it must not fail now.
                _logger.warning(
                    f"The state of trial {trial.number}, {key!r}, is no longer needed, but could "
                    f"not be removed: {error!r}"
                )
            removed.add(start)  # Not before, as it may be interrupted.


def check_checkpoints(value: object) -> None:
    """Check that an argument is a `Checkpoints` or None.

    Raises:
        TypeError: If it is neither.
    """
    if not isinstance(value, Checkpoints | None):
        raise TypeError(
            f"`checkpoints` must be a `Checkpoints` or None, but {shown(value)} was given."
        )


def _check_running(trial: object) -> None:
    """Check that an argument is a running trial.

    Raises:
        TypeError: If it is not one.
    """
    if not isinstance(trial, Trial) or stored(trial.study, trial).state != TrialState.RUNNING:
        raise TypeError(f"`trial` must be a running `optuna.Trial`, but {shown(trial)} was given.")


def _is_artifact_store(store: Any) -> bool:
    # `optuna.artifacts` has a private protocol only; its stores share no public base class.
    return all(callable(getattr(store, name, None)) for name in _ARTIFACT_STORE_METHODS)


def _local_folder(given: str | Path) -> Path:
    """Return an absolute path, so that a change of the working directory loses nothing.

    Raises:
        ValueError: If an address is given, nothing, or a file.
    """
    if not str(given):
        raise ValueError("`store` must be a folder, but '' was given.")
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", str(given)):
        raise ValueError(
            f"`store` must be a folder of this machine, but the address {shown(str(given))} was "
            "given. For other places give a store of `optuna.artifacts`, such as "
            "`Boto3ArtifactStore` for s3:// or `GCSArtifactStore` for gs://."
        )
    folder = Path(given).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`store` must be a folder, but the file {shown(str(folder))} was given.")
    return folder


def _shown_key(trial: FrozenTrial) -> str | None:
    """Return the key under which the trial's state was saved; None if it shows no such key."""
    key = trial.user_attrs.get(CHECKPOINT)
    return key if isinstance(key, str) and _KEY.fullmatch(key) else None


def _removable_key(study: Study, trial: FrozenTrial) -> str | None:
    """Return the key of a state of this study; None for a state of the study it was copied from.

    A trial that shows no state may have failed while its state was being written.
    """
    if CHECKPOINT not in trial.user_attrs:
        return _key(study, trial)
    key = _shown_key(trial) or ""
    own = key.startswith(_prefix(study)) and key.endswith(f"-{trial.number}")
    return key if own else None


def _key(study: Study, trial: Trial | FrozenTrial) -> str:
    # The start time distinguishes trials with the same number in copied or re-created studies of
    # the same name.
    return f"{_prefix(study)}{_hashed(trial.datetime_start)}-{trial.number}"


def _prefix(study: Study) -> str:
    return f"ga-{_hashed(study.study_name)}-"


def _hashed(value: object) -> str:
    return hashlib.blake2b(str(value).encode(), digest_size=6).hexdigest()

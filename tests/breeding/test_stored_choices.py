"""Choices that a storage changes, and choices in another order, are inherited by value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import create_trial

from optuna_ga import GASampler
from tests.studies import bred, parents

# JSON makes lists of the tuples, and strings of the keys.
TUPLES: list[Any] = [(50,), (100,), (50, 50), (100, 100)]
KEYED: list[Any] = [{1: "a"}, {2: "b"}, {1: "b"}, {2: "a"}]
POPULATION = 5

pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")


def storages(folder: Path) -> dict[str, BaseStorage]:
    """Return a storage of each kind that needs no server."""
    return {
        "memory": InMemoryStorage(),
        "SQLite": RDBStorage(f"sqlite:///{folder}/study.db"),
        "journal": JournalStorage(JournalFileBackend(f"{folder}/study.log")),
    }


def values(study: Study) -> list[str]:
    """Return the choice of each trial as JSON, which is the same in every storage."""
    return [json.dumps(trial.params["choice"]) for trial in study.trials]


def study_of(sampler: BaseSampler, choices: list[Any], storage: BaseStorage) -> Study:
    """Return a study of thirty trials whose objective receives a choice as it was given."""

    def objective(trial: Trial) -> float:
        choice = trial.suggest_categorical("choice", choices)
        assert any(choice is given for given in choices)
        return float(choices.index(choice)) + trial.number % 7

    study = optuna.create_study(storage=storage, sampler=sampler)
    study.optimize(objective, n_trials=30)
    return study


@pytest.mark.parametrize("kind", ["memory", "SQLite", "journal"])
@pytest.mark.parametrize("choices", [TUPLES, KEYED], ids=["tuples", "keys"])
def test_a_choice_that_json_changes_is_inherited(
    choices: list[Any], kind: str, tmp_path: Path
) -> None:
    """Without mutation every bred gene is that of a parent."""
    sampler = GASampler(POPULATION, mutation_prob=0.0, seed=0)
    study = study_of(sampler, choices, storages(tmp_path)[kind])
    found = values(study)

    assert len(bred(study)) == 25
    for trial in bred(study):
        assert found[trial.number] in {found[number] for number in parents(trial)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    [
        GASampler(POPULATION, avoid_duplicates=True, seed=0),
        GASampler.adaptive(POPULATION, surrogate=False, seed=0),
        GASampler.adaptive(POPULATION, seed=0),
    ],
    ids=["unrepeated", "adaptive without a model", "adaptive"],
)
def test_a_search_is_the_same_where_json_changes_the_choices(
    sampler: GASampler, tmp_path: Path
) -> None:
    """In a database as in memory, trial by trial."""
    found = storages(tmp_path)

    assert values(study_of(sampler, TUPLES, found["SQLite"])) == values(
        study_of(sampler, TUPLES, found["memory"])
    )


def test_choices_in_another_order_are_inherited_by_value() -> None:
    """Trials that were added with reversed choices are parents like any others."""
    study = optuna.create_study(sampler=GASampler(POPULATION, mutation_prob=0.0, seed=0))
    reversed_choices = CategoricalDistribution(("d", "c", "b", "a"))
    for n in range(POPULATION):
        study.add_trial(
            create_trial(
                params={"choice": "a"},
                distributions={"choice": reversed_choices},
                value=float(n),
            )
        )
    gene = study.sampler.sample_independent(
        study, study.ask()._cached_frozen_trial, "choice", CategoricalDistribution(tuple("abcd"))
    )

    assert gene == "a"

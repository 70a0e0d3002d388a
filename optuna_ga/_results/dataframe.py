"""`generations_dataframe`: a study as a table with one row per individual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution
from optuna.study import Study

from optuna_ga._population.fronts import crowding_distances, fronts
from optuna_ga._results.history import History, Individual, read_history, value_of

if TYPE_CHECKING:
    import pandas as pd

_FIRST_TYPES = {"number": "int64", "generation": "int64", "state": "str"}
_ORIGIN_TYPES = {"parents": "object", "mutated": "object", "lost": "object", "origin": "str"}


def generations_dataframe(study: Study, population_size: int | None = None) -> pd.DataFrame:
    """Return a table with one row per finished trial, in the order of trial numbers.

    Running and waiting trials are left out. Trials of a sampler with `record=False` have no
    parents and no mutated genes in the table; trials that were copied from another study have
    those that they had there. The columns are:

    - `number`: The trial's number.
    - `generation`: The trial's `ga_generation`, which was true when it ran, also if the population
      size has changed since. Without it, or if `population_size` is given: the number divided by
      the population size, rounded down.
    - `state`: "COMPLETE", "PRUNED" or "FAIL".
    - `value`: The trial's value; the last reported value of a pruned trial; NaN if it has none.
    - `parents`: List of the parents' trial numbers.
    - `mutated`: List of the names of the mutated genes: changed instead of inherited.
    - `lost`: List of the parents whose trained states were lost when the trial started. If it has
      all parents, the trial trained from scratch. Empty without population-based training.
    - `origin`: "mutation" if the trial has mutated genes, "crossover" if it has parents but no
      mutated genes. Without parents it is "start" in generation 0; in later generations "random"
      if the sampler drew the trial at random, as while all trials are equally fit, and "other" if
      the trial was enqueued, added, sampled by another sampler or with `record=False`, or ended
      without parameters.
    - `best_so_far`: The best value of the complete and feasible trials up to this one; NaN before
      the first.
    - `improved`: Whether this trial is better than all complete and feasible trials before it. The
      first of them counts, unless its value is infinitely bad.
    - `params_<name>`: One column for each parameter, sorted by name; NaN for trials without the
      parameter.

    With several objectives, three columns differ and two are new:

    - `values_0`, `values_1` and so on: The trial's values, instead of `value`.
    - `front`: The trial's front among the complete and feasible trials, 0 for the best; NaN for
      other trials.
    - `crowding`: The trial's crowding distance in that front; NaN for other trials.
    - `hypervolume`: The hypervolume that the complete and feasible trials up to this one dominate,
      instead of `best_so_far`; in shares of the box from the best to the worst finite values of
      such trials in the whole study. NaN before the first, and with more than six objectives.
    - `improved`: Whether this trial entered the front: it is complete and feasible, and no such
      trial before it is as good or better in every objective.

    Args:
        study: The study.
        population_size: Trials in a generation, 2 to 1,000,000. None takes it from the study's
            sampler if that is a `GASampler`, else from the study's attribute
            `ga_population_size`.

    Raises:
        ImportError: If pandas is not installed.
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "`generations_dataframe` needs pandas, which is not installed. "
            'Run `pip install -e ".[visualization]"`.'
        ) from error
    history = read_history(study, population_size)
    individuals = history.individuals
    names = sorted({name for individual in individuals for name in individual.trial.params})
    types = _types(history)
    columns = [*types, *(f"params_{name}" for name in names)]
    found = fronts_of(history) if history.has_several else {}
    rows = [
        _row(individual) | _values(individual, history) | found.get(individual.trial.number, {})
        for individual in individuals
    ]
    table = pd.DataFrame(rows, columns=columns, dtype=object).astype(types)
    # A choice of None is no missing number.
    with_none = _with_none(individuals)
    plain = [f"params_{name}" for name in names if name not in with_none]
    table[plain] = table[plain].infer_objects()
    return table


def _with_none(individuals: Sequence[Individual]) -> set[str]:
    """Return the parameters of which None is a choice."""
    return {
        name
        for individual in individuals
        for name, distribution in individual.trial.distributions.items()
        if isinstance(distribution, CategoricalDistribution) and None in distribution.choices
    }


def _types(history: History) -> dict[str, str]:
    """Return the types of the columns before those of the parameters."""
    values, results = ["value"], ["best_so_far"]
    if history.has_several:
        values = [f"values_{objective}" for objective in range(len(history.directions))]
        results = ["front", "crowding", "hypervolume"]
    return {
        **_FIRST_TYPES,
        **dict.fromkeys(values, "float64"),
        **_ORIGIN_TYPES,
        **dict.fromkeys(results, "float64"),
        "improved": "bool",
    }


def fronts_of(history: History) -> dict[int, dict[str, float]]:
    """Return the front and the crowding distance of each candidate, by number."""
    candidates = [individual for individual in history.individuals if individual.is_candidate]
    losses = history.losses(candidates)
    front = fronts(losses)
    crowding = crowding_distances(losses, front)
    found = zip(candidates, front.tolist(), crowding.tolist(), strict=True)
    return {i.trial.number: {"front": number, "crowding": gap} for i, number, gap in found}


def _row(individual: Individual) -> dict[str, Any]:
    trial = individual.trial
    return {
        "number": trial.number,
        "generation": individual.generation,
        "state": trial.state.name,
        "parents": individual.parents,
        "mutated": individual.mutated,
        "lost": individual.lost,
        "origin": individual.origin,
        "improved": individual.improved,
        **{f"params_{name}": value for name, value in trial.params.items()},
    }


def _values(individual: Individual, history: History) -> dict[str, float | None]:
    trial = individual.trial
    if not history.has_several:
        return {"value": value_of(trial), "best_so_far": individual.best_so_far}
    values = {f"values_{i}": value for i, value in enumerate(trial.values or ())}
    return {**values, "hypervolume": individual.best_so_far}

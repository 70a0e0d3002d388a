"""`generations_dataframe`: a study as a table with one row per individual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.study import Study

from optuna_ga._results.history import Individual, read_history

if TYPE_CHECKING:
    import pandas as pd

_COLUMN_TYPES = {
    "number": "int64",
    "generation": "int64",
    "state": "str",
    "value": "float64",
    "parents": "object",
    "mutated": "object",
    "lost": "object",
    "origin": "str",
    "best_so_far": "float64",
    "improved": "bool",
}


def generations_dataframe(study: Study, population_size: int | None = None) -> pd.DataFrame:
    """Return a table with one row per finished trial, in the order of trial numbers.

    Running and waiting trials are left out. Trials of a sampler with `record=False` have no
    parents and no mutated genes in the table. The columns are:

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
      mutated genes, "start" if it has no parents.
    - `best_so_far`: The best value of the complete and feasible trials up to this one; NaN before
      the first.
    - `improved`: Whether this trial is better than all complete and feasible trials before it. The
      first of them counts, unless its value is infinitely bad.
    - `params_<name>`: One column for each parameter, sorted by name; NaN or None for trials
      without the parameter.

    Args:
        study: A study with one objective.
        population_size: Trials in a generation, 2 to 1,000,000. None takes it from the study's
            sampler if that is a `GASampler`, else from the study's attribute
            `ga_population_size`.

    Raises:
        ImportError: If pandas is not installed.
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown, or if the study has several
            objectives.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "`generations_dataframe` needs pandas, which is not installed. "
            'Run `pip install -e ".[visualization]"`.'
        ) from error
    individuals = read_history(study, population_size).individuals
    names = sorted({name for individual in individuals for name in individual.trial.params})
    columns = [*_COLUMN_TYPES, *(f"params_{name}" for name in names)]
    return pd.DataFrame([_row(i) for i in individuals], columns=columns).astype(_COLUMN_TYPES)


def _row(individual: Individual) -> dict[str, Any]:
    trial = individual.trial
    return {
        "number": trial.number,
        "generation": individual.generation,
        "state": trial.state.name,
        "value": trial.value,
        "parents": individual.parents,
        "mutated": individual.mutated,
        "lost": individual.lost,
        "origin": individual.origin,
        "best_so_far": individual.best_so_far,
        "improved": individual.improved,
        **{f"params_{name}": value for name, value in trial.params.items()},
    }

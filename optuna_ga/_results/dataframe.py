"""The trials of a study as a table of individuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.study import Study

from optuna_ga._results.history import Individual, read_history

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {
    "number": "int64",
    "generation": "int64",
    "state": "str",
    "value": "float64",
    "parents": "object",
    "mutated": "object",
    "origin": "str",
    "best_so_far": "float64",
    "improved": "bool",
}


def generations_dataframe(study: Study, population_size: int | None = None) -> pd.DataFrame:
    """Return a table with one row per finished trial, in the order of their numbers.

    Running and waiting trials are left out. Without records, as with `record=False`, all trials
    seem to have no parents. The columns are:

    - `number`: The trial's number.
    - `generation`: The number divided by the population size, rounded down.
    - `state`: "COMPLETE", "PRUNED" or "FAIL".
    - `value`: What Optuna has as its value; of a pruned trial that is its last report. NaN if
      it has none.
    - `parents`: List of the numbers of the trials that it was bred from.
    - `mutated`: List of the names of the genes that were drawn afresh instead of inherited.
    - `origin`: "start" if it has no parents, "crossover" if it was bred without mutated genes,
      "mutation" if it was bred with some.
    - `best_so_far`: The best value of the complete and feasible trials up to this one, NaN if
      there is none yet.
    - `improved`: Whether `best_so_far` is this trial's doing. The first complete and feasible
      trial counts, unless its value is infinitely bad; an equal value does not.
    - `params_<name>`: One column for each parameter, by name; NaN or None for trials without it.

    Args:
        study: A study with one objective.
        population_size: Trials in a generation, at least 2. None takes it from the study's
            sampler if that is a `GASampler`, else from what one has recorded on the study.

    Raises:
        ImportError: If pandas is not installed.
        TypeError: If `population_size` is no integer.
        ValueError: If it is too small or unknown, or if the study has several objectives.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "`generations_dataframe` needs pandas, which is not installed; "
            '`pip install "optuna-ga[visualization]"` installs it.'
        ) from error
    individuals = read_history(study, population_size).individuals
    names = sorted({name for individual in individuals for name in individual.trial.params})
    columns = [*_TYPES, *(f"params_{name}" for name in names)]
    return pd.DataFrame([_row(i) for i in individuals], columns=columns).astype(_TYPES)


def _row(individual: Individual) -> dict[str, Any]:
    trial = individual.trial
    return {
        "number": trial.number,
        "generation": individual.generation,
        "state": trial.state.name,
        "value": trial.value,
        "parents": individual.parents,
        "mutated": individual.mutated,
        "origin": individual.origin,
        "best_so_far": individual.best_so_far,
        "improved": individual.improved,
        **{f"params_{name}": value for name, value in trial.params.items()},
    }

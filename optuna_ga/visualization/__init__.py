"""Plotly figures of a genetic algorithm's search, in the style of `optuna.visualization`.

They show any study that `GASampler` took part in, including failed, pruned, infeasible, added and
enqueued trials and trials of other samplers. Install their requirements with
`pip install -e ".[visualization]"`.
"""

from optuna_ga.visualization._fitness import plot_fitness
from optuna_ga.visualization._genealogy import plot_genealogy
from optuna_ga.visualization._genes import plot_genes
from optuna_ga.visualization._improvements import plot_improvements
from optuna_ga.visualization._schedule import plot_schedule

__all__ = ["plot_fitness", "plot_genealogy", "plot_genes", "plot_improvements", "plot_schedule"]

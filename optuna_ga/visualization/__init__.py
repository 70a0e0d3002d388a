"""Plotly figures of what a genetic algorithm did, in the manner of `optuna.visualization`.

They take any study in which `GASampler` took part, also one with failed, pruned, infeasible, added
and enqueued trials and with other samplers'. `pip install "optuna-ga[visualization]"` installs
what they need.
"""

from optuna_ga.visualization._fitness import plot_fitness
from optuna_ga.visualization._genealogy import plot_genealogy
from optuna_ga.visualization._genes import plot_genes
from optuna_ga.visualization._improvements import plot_improvements

__all__ = ["plot_fitness", "plot_genealogy", "plot_genes", "plot_improvements"]

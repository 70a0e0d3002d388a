"""A whole generation of any PyTorch network, trained at once.

`PopulationTrainer` takes a task (network, loss, metrics) and data, and gives an objective for
`optuna_ga.optimize_generations`. It needs PyTorch: `pip install optuna-ga torch`.
"""

from optuna_ga.torch._data import TensorData
from optuna_ga.torch._objective import GenerationObjective
from optuna_ga.torch._schedules import Constant, Cosine, StepDecay
from optuna_ga.torch._task import Member, Task
from optuna_ga.torch._trainer import PopulationTrainer, Trained
from optuna_ga.torch._training import Epoch

__all__ = [
    "Constant",
    "Cosine",
    "Epoch",
    "GenerationObjective",
    "Member",
    "PopulationTrainer",
    "StepDecay",
    "Task",
    "TensorData",
    "Trained",
]

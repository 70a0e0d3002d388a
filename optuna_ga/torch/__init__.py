"""A whole generation of any PyTorch network, trained at once.

`PopulationTrainer` takes a task (network, loss, metrics) and data, and gives an objective for
`optuna_ga.optimize_generations`. `computing` and `Capturer` are what its backends compute with on
a GPU, for a loop of one's own. It needs PyTorch: `pip install -e ".[torch]"`.
"""

from optuna_ga.torch._backends.cuda_graph import Capturer
from optuna_ga.torch._data.tensor_data import TensorData
from optuna_ga.torch._environment import computing
from optuna_ga.torch._groups import Trained
from optuna_ga.torch._objective import GenerationObjective
from optuna_ga.torch._schedules import Constant, Cosine, StepDecay
from optuna_ga.torch._task import Member, Task
from optuna_ga.torch._trainer import PopulationTrainer
from optuna_ga.torch._training import Epoch

__all__ = [
    "Capturer",
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
    "computing",
]

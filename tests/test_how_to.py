"""The code of each how-to page runs as it stands, after what the page expects of its reader."""

from __future__ import annotations

import re
import runpy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from optuna_ga import fashion_mnist

FOLDER = Path(__file__).parents[1] / "docs" / "how-to"
SEARCH = """
import optuna
from optuna_ga import GASampler, optimize_generations, recheck_best

def objective(trial):
    return trial.suggest_float("x", -1, 1) ** 2

study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
"""
NETWORK = """
import optuna, torch
from torch.utils.data import DataLoader, TensorDataset
from optuna_ga import GASampler, optimize_generations
from optuna_ga.torch import Member

generator = torch.Generator().manual_seed(0)
x, xv = torch.randn(256, 64, generator=generator), torch.randn(64, 64, generator=generator)
y, yv = x[:, :10].argmax(1), xv[:, :10].argmax(1)
study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
"""
LIGHTNING = """
import torch
from lightning import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset

x = torch.linspace(-1, 1, 32)[:, None]

class Data(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(x, x**2), batch_size=8)

    val_dataloader = train_dataloader

class Classifier(LightningModule):
    def __init__(self, learning_rate, width):
        super().__init__()
        self.learning_rate = learning_rate
        layers = torch.nn.Linear(1, width), torch.nn.ReLU(), torch.nn.Linear(width, 1)
        self.model = torch.nn.Sequential(*layers)

    def training_step(self, batch, number):
        return torch.nn.functional.mse_loss(self.model(batch[0]), batch[1])

    def validation_step(self, batch, number):
        self.log("validation_loss", self.training_step(batch, number))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

data = Data()
"""
HYDRA = {
    "conf/config.yaml": """
defaults: [_self_, model: small]
optimizer: {lr: 0.1}
train: {_target_: hydra_training.train, lr: "${optimizer.lr}", width: "${model.width}"}
sampler: {_target_: optuna_ga.GASampler.adaptive, population_size: 20, seed: 0}
""",
    "conf/model/small.yaml": "width: 8",
    "conf/model/large.yaml": "width: 64",
    "hydra_training.py": "def train(lr, width): return (lr - 0.01) ** 2 + 1 / width",
}


class Page(NamedTuple):
    """What a page's code needs and does.

    Attributes:
        before: The code that its reader has written before.
        holds: An expression that is true after it.
        files: Contents of the files beside it, by path.
        n_trials: The number that takes the place of the page's `n_trials`; None: no other.
    """

    before: str
    holds: str
    files: Mapping[str, str] = {}
    n_trials: int | None = None


PAGES = {
    "constraints": Page(
        SEARCH + "train = lambda width, depth: 1 / (width * depth)",
        "study.optimize(objective, 40) or study.best_trial.constraints['parameters'] <= 0",
    ),
    "dashboard": Page(SEARCH, "len(study.trials) == 200 and study.best_value < 1e-6"),
    "failures": Page(
        SEARCH + "parallel = lambda trials: map(objective, trials)", "len(study.trials) == 200"
    ),
    "gpus": Page(SEARCH, "isinstance(parallel, InParallel)"),
    "hydra": Page(
        "",
        "study.best_params['model'] == 'large' and sampler.settings.population_size == 20",
        HYDRA,
    ),
    "lightning": Page(LIGHTNING, "study.best_value < 0.1", n_trials=6),
    "network-objectives": Page(
        NETWORK
        + """
from optuna_ga.torch import PopulationTrainer, TensorData

class Task:
    def model(self, seed, width):
        return torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.Linear(width, 10))
    def loss(self, model, batch):
        return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
    def metrics(self, model, batch):
        x, y = batch
        logits = model(x)
        brier = (logits.softmax(1) - torch.nn.functional.one_hot(y, 10)).square().sum()
        hits = (logits.argmax(1) == y).sum()
        return {"loss": self.loss(model, batch) * len(x), "accuracy": hits, "brier_score": brier}

datas = TensorData(x, y, batch_size=64), TensorData(xv, yv)
trainer = PopulationTrainer(Task(), train=datas[0], validation=datas[1], epochs=2)
""",
        "len(study.best_trials) > 1 and len(study.trials) == 50",
    ),
    "noise": Page(
        SEARCH
        + "train = lambda learning_rate, seed: (seed * 7919) % 13 / 100 - learning_rate\n"
        + "def noisy(trial):\n"
        + "    rate = trial.suggest_float('learning_rate', 1e-4, 1e-1, log=True)\n"
        + "    return train(rate, trial.number)\n"
        + "study.optimize(noisy, 30)",
        "len(checked) == 5 and checked[0].mean <= checked[-1].mean",
    ),
    "population-trainer": Page(
        NETWORK + "dataset = TensorDataset(x, y)", "study.best_value < 2 and len(loader) == 4"
    ),
    "pruning": Page(
        "from optuna_ga import optimize_generations\n"
        "build = lambda trial: [trial.suggest_float('x', 0, 1), 0]\n"
        "def train_one_epoch(model):\n"
        "    model[1] += 1\n"
        "    return model[0] + 1 / model[1]\n",
        "any(t.state == optuna.trial.TrialState.PRUNED for t in study.trials)",
    ),
    "resume": Page(SEARCH, "len(study.trials) == 200"),
    "run": Page(SEARCH, "len(study.trials) > 220 and study.best_value < 1e-9"),
    "scikit-learn": Page("", "study.best_value > 0.97", n_trials=25),
    "several-objectives": Page(
        """
import optuna
from optuna_ga import GASampler

def objective(trial):
    return trial.suggest_float("accuracy", 0, 1), trial.suggest_int("size", 1, 9)
""",
        "len(study.best_trials) == 1 and len(study.trials) == 100",
    ),
}


def code_of(page: str) -> str:
    """Return a page's code."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE))


def test_each_page_with_code_is_tried() -> None:
    """No page is left out."""
    assert {path.stem for path in FOLDER.glob("*.md") if code_of(path.read_text())} == {*PAGES}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes:UserWarning")
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer trials and images, where there is a training."""
    page = PAGES[name]
    code = page.before + "\n" + code_of((FOLDER / f"{name}.md").read_text())
    if page.n_trials:
        code = re.sub(r"n_trials=\d+", f"n_trials={page.n_trials}", code)
    for path, text in {**page.files, "page.py": code}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    small = partial(
        fashion_mnist.FashionMNISTObjective, n_training_images=64, n_validation_images=64
    )
    monkeypatch.setattr(fashion_mnist, "FashionMNISTObjective", small)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = runpy.run_path(str(tmp_path / "page.py"))

    assert eval(page.holds, names)

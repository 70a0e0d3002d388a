"""Train generations of encoders at once, built as in Hugging Face's library.

A batch is a dictionary, and the model returns its loss. Is token 0 among the first eight?

    pip install -e ".[torch]" && python examples/train_encoders.py
"""

import argparse

import optuna
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from optuna_ga import GASampler, optimize_generations
from optuna_ga.torch import Member, PopulationTrainer, TensorData


class Encoder(nn.Module):
    """Two layers of attention over sixteen tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(16, 32), nn.Embedding(16, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.encoder, self.classifier = nn.TransformerEncoder(layer, 2), nn.Linear(32, 2)

    def forward(self, input_ids: Tensor, labels: Tensor) -> Tensor:
        hidden = self.encoder(self.tokens(input_ids) + self.places.weight)
        return cross_entropy(self.classifier(hidden.mean(1)), labels)


class Halves:
    """Which half of a sentence token 0 is in."""

    def model(self, seed: int) -> nn.Module:
        return Encoder()

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return model(**batch)  # type: ignore[no-any-return]

    def metrics(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": model(**batch) * len(batch["labels"])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="auto", help="loop, threads, vmap or branches")
    parser.add_argument("--epochs", type=int, default=6, help="of each training")
    parser.add_argument("--generations", type=int, default=2, help="in total")
    options = vars(parser.parse_args())
    n = options.pop("generations")
    ids = torch.rand(1536, 16, generator=torch.Generator().manual_seed(0)).argsort(1)
    data = [TensorData({"input_ids": x, "labels": x.argmin(1) // 8}) for x in ids.split(1024)]
    trainer = PopulationTrainer(Halves(), train=data[0], validation=data[1], **options)
    study = optuna.create_study(sampler=GASampler.adaptive(8, seed=0))
    objective = trainer.objective(lambda t: Member(t.suggest_float("rate", 1e-4, 3e-2, log=True)))
    optimize_generations(study, objective, n)
    print(f"Loss {study.best_value:.3f} with {study.best_params}")

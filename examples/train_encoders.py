"""Train generations of encoders at once, built as in Hugging Face's library.

A batch is a dictionary, the model computes its own loss, and attention draws dropout. The task is
to tell which of two tokens comes first.

    pip install optuna-ga torch && python examples/train_encoders.py
"""

import argparse
from types import SimpleNamespace

import optuna
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from optuna_ga import GASampler, best_of_final_generation, optimize_generations
from optuna_ga.torch import Cosine, Member, PopulationTrainer, TensorData


class EncoderForSequenceClassification(nn.Module):
    """Embeddings of tokens and places, two layers of attention, and a head."""

    def __init__(self, hidden_size: int = 32, vocab_size: int = 20, length: int = 16) -> None:
        super().__init__()
        self.tokens, self.places = (nn.Embedding(n, hidden_size) for n in (vocab_size, length))
        layer = nn.TransformerEncoderLayer(hidden_size, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classifier = nn.Linear(hidden_size, 2)

    def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
        hidden = self.encoder(self.tokens(input_ids) + self.places.weight)
        logits = self.classifier(hidden.mean(1))
        return SimpleNamespace(loss=cross_entropy(logits, labels), logits=logits)


class First:
    """Whether token 0 or 1 comes first."""

    def model(self, seed: int) -> nn.Module:
        return EncoderForSequenceClassification()

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        loss: Tensor = model(**batch).loss
        return loss

    def metrics(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        output = model(**batch)
        return {"loss": output.loss * len(output.logits),
                "accuracy": (output.logits.argmax(1) == batch["labels"]).sum()}  # fmt: skip


def sentences(n: int) -> TensorData:
    """Return sentences of sixteen tokens that have both 0 and 1."""
    ids = torch.stack([torch.randperm(20)[:16] for _ in range(3 * n)])
    ids = ids[((ids == 0) | (ids == 1)).sum(1) == 2][:n]
    labels = ((ids == 1).int().argmax(1) < (ids == 0).int().argmax(1)).long()
    return TensorData({"input_ids": ids, "labels": labels}, batch_size=64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="auto", help="loop, threads, vmap or branches")
    parser.add_argument("--epochs", type=int, default=6, help="of each training")
    parser.add_argument("--generations", type=int, default=2, help="in total")
    options = parser.parse_args()
    torch.manual_seed(0)
    trainer = PopulationTrainer(
        First(), train=sentences(1024), validation=sentences(512), epochs=options.epochs,
        schedule=Cosine(warm_up=1), backend=options.backend,
    )  # fmt: skip
    study = optuna.create_study(sampler=GASampler(population_size=8, seed=0))
    rate = ("rate", 1e-4, 3e-2)
    objective = trainer.objective(lambda trial: Member(trial.suggest_float(*rate, log=True)))
    optimize_generations(study, objective, options.generations)
    best = best_of_final_generation(study)
    print(f"Accuracy {best.user_attrs['validation_accuracy']:.3f} with {best.params}")

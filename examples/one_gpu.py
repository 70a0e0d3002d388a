"""Train the twenty networks of a generation at once, on one GPU or on the cores of a CPU.

`optimize_generations` passes a whole generation to one call of a function that takes a list of
trials and returns a list of values. Here the function trains all networks together; write your
own for your objective. The defaults suit a CPU; on a GPU use all images, `--images 6000`, and
more epochs.

    pip install -e ".[fashion-mnist]" && python examples/one_gpu.py
"""

import argparse
import time

import optuna
import torch

from optuna_ga import GASampler, optimize_generations
from optuna_ga.fashion_mnist import FashionMNISTObjective

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="epochs per network")
    parser.add_argument("--generations", type=int, default=3, help="number of generations")
    parser.add_argument("--images", type=int, default=500, help="training images, at most 6,000")
    parser.add_argument("--population-size", type=int, default=20, help="networks per generation")
    options = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    objective = FashionMNISTObjective(
        "subset",
        epochs=options.epochs,
        n_training_images=options.images,
        n_validation_images=min(options.images, 2000),
        device=device,
    )
    sampler = GASampler.adaptive(options.population_size, seed=0)
    study = optuna.create_study(sampler=sampler)
    start = time.perf_counter()
    optimize_generations(study, objective.evaluate_generation, options.generations)
    seconds = time.perf_counter() - start
    print(f"{len(study.trials)} networks in {seconds:.1f} s on {device}")
    best = study.best_trial
    print(f"Accuracy {best.user_attrs['validation_accuracy']:.3f} with {best.params}")

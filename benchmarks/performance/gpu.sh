#!/usr/bin/env bash
# All that is to be run on a GPU, in about five minutes: what must hold there, then the figures.
# The full FashionMNIST images must be at hand; see README.
set -euxo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-benchmarks/results}

python -m pytest --override-ini addopts= -m gpu tests/fashion_mnist/test_gpu.py  # One process, one GPU.
python -m benchmarks.performance.trainer_speed --data full --images 12816 --turns 6 --out "$out/trainer_speed_cuda.csv"
python -m benchmarks.performance.precision --data full --settings 60 --out "$out/precision_cuda.csv"
# The paper's baseline, as assumed: 200 trainings of 14 epochs on all images.
rm -rf gpu-results
start=$(date +%s.%N)
python -m benchmarks --data full --epochs 14 --population-size 20 --generations 10 \
    --samplers ga --out gpu-results
python -c "import sys; print('wall_s', float(sys.argv[2]) - float(sys.argv[1]))" \
    "$start" "$(date +%s.%N)" > "$out/baseline_cuda_seconds.txt"
cp gpu-results/rows.csv "$out/baseline_cuda.csv"

#!/usr/bin/env bash
# Everything that is to be run on a GPU, in two commands of under ten minutes:
#
#     bash benchmarks/performance/gpu.sh measure [FOLDER]   # tests, speed, precision
#     bash benchmarks/performance/gpu.sh study [FOLDER]     # the paper's baseline study
#
# A step that fails or takes too long ends alone. All results and logs are in FOLDER, whose default
# is benchmarks/results. The full FashionMNIST images must be at hand; see README.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
what=${1:?measure or study}
out=${2:-benchmarks/results}
mkdir -p "$out"
failed=0

step() { # step SECONDS NAME COMMAND...
    local seconds=$1 name=$2 start=$SECONDS
    shift 2
    timeout "$seconds" "$@" > "$out/$name.log" 2>&1
    local code=$?
    echo "$name: exit $code after $((SECONDS - start)) s"
    tail -n 25 "$out/$name.log"
    ((code == 0)) || failed=1
}

measure() {
    # One process and no fixtures: some machines lack what other tests need.
    step 120 gpu_tests python3 -m pytest -q -o addopts= -o filterwarnings= --noconftest \
        -m gpu tests/fashion_mnist/test_gpu.py
    step 100 gpu_tests_any_network python3 -m pytest -q -o addopts= -o filterwarnings= \
        --noconftest -m gpu tests/torch/test_gpu.py
    step 150 trainer_speed_cuda python3 -m benchmarks.performance.trainer_speed --data full \
        --images 12816 --turns 6 --members 1 5 10 20 50 --out "$out/trainer_speed_cuda.csv"
    step 100 any_network_cuda python3 -m benchmarks.performance.any_network \
        --seconds 90 --out "$out/any_network_cuda.csv"
    step 100 precision_cuda python3 -m benchmarks.performance.precision --data full \
        --settings 60 --images 12800 --out "$out/precision_cuda.csv"
}

study() { # 200 trainings of 14 epochs on all images.
    rm -rf gpu-results
    step 560 baseline_cuda python3 -m benchmarks --data full --epochs 14 \
        --population-size 20 --generations 10 --samplers ga --out gpu-results
    cp gpu-results/rows.csv "$out/baseline_cuda.csv"
}

"$what"
exit "$failed"

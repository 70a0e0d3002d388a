#!/usr/bin/env bash
# Everything that is to be run on a GPU, in two commands of under ten minutes:
#
#     bash benchmarks/performance/gpu.sh measure [FOLDER]   # tests, speed, precision
#     bash benchmarks/performance/gpu.sh study [FOLDER]     # the paper's five runs
#
# Together they take up to twenty minutes; each is of use without the other. A step that fails or
# takes too long ends alone. All results, logs and studies are in FOLDER, whose
# default is benchmarks/results; another call resumes the studies that are there. The full
# FashionMNIST images must be at hand; see README.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
what=${1:?measure or study}
out=${2:-benchmarks/results}
mkdir -p "$out"
failed=0

step() { # step SECONDS NAME COMMAND...
    local seconds=$1 name=$2 start=$SECONDS
    shift 2
    # Interrupted, pytest still reports; a command in the background would ignore that.
    timeout -s "${signal:-INT}" -k 10 "$seconds" "$@" > "$out/$name.log" 2>&1
    local code=$?
    echo "$name: exit $code after $((SECONDS - start)) s"
    tail -n 25 "$out/$name.log"
    ((code == 0)) || failed=1
    return "$code"
}

measure() {
    # One process and no fixtures: some machines lack what other tests need.
    step 110 gpu_tests python3 -m pytest -q -o addopts= -o filterwarnings= --noconftest \
        -m gpu tests/fashion_mnist/test_gpu.py
    step 95 gpu_tests_any_network python3 -m pytest -q -o addopts= -o filterwarnings= \
        --noconftest -m gpu tests/torch/test_gpu.py
    # Whole batches, so that fewer kernels are compiled.
    step 180 trainer_speed_cuda python3 -m benchmarks.performance.trainer_speed --data full \
        --images 12800 --turns 6 --members 1 10 20 --out "$out/trainer_speed_cuda.csv"
    step 100 any_network_cuda python3 -m benchmarks.performance.any_network \
        --seconds 60 --out "$out/any_network_cuda.csv"
    step 100 precision_cuda python3 -m benchmarks.performance.precision --data full \
        --settings 60 --images 12800 --out "$out/precision_cuda.csv"
}

study() { # Two processes, since storing trials takes as long as training them.
    local options="--training-images 6000 --validation-images 2000 --epochs 5 --minutes 8.5"
    local half jobs=() signal=TERM
    for half in "0 1 2 3 4" "5 6 7 8 9"; do
        # shellcheck disable=SC2086 (the options are words)
        step 580 "reproduce_cuda_${half%% *}" python3 -m benchmarks.paper.reproduce $options \
            --precision bfloat16 --seeds $half --storage "$out/reproduce_cuda_${half%% *}.db" \
            --out "$out/reproduce_cuda_${half%% *}" &
        jobs+=($!)
    done
    for half in "${jobs[@]}"; do
        wait "$half" || failed=1
    done
    local first="$out/reproduce_cuda_0" second="$out/reproduce_cuda_5"
    { cat "$first.csv" && tail -n +2 "$second.csv"; } > "$out/reproduce_cuda.csv" || failed=1
    cp "$first.json" "$out/reproduce_cuda.json" || failed=1
}

"$what"
exit "$failed"

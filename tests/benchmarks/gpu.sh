#!/bin/sh
# All that needs a GPU, on a bare machine: torch, torchvision, numpy and pyarrow, no network, no Ray, no MLflow.
#
#   sh tests/benchmarks/gpu.sh OUT [PART ...]
#
# Run it from the top of the project. OUT gets a table or a log for each part. The parts are
#   tests     the tests of CUDA graphs
#   manners   one cohort as operations, CUDA graph, compiled, with shared groups, on streams; width 4, 16 and 64
#   training  cohorts beside a strong loop, ResNet-18 of width 4, 8, 16 and 64
#   sweep     the double descent of CIFAR-10, as much as fits, in OUT/sweep; score it elsewhere with the same command
# Without names, all run, in 25 minutes at most; each survives the end of another.
#
# Packages that such a machine lacks come from the folder wheels. Fill it elsewhere, for its version of Python:
#   python -m pip download -d wheels --only-binary :all: --python-version 3.12 \
#     pydantic pyyaml safetensors pytest cloudpickle tqdm
# The sweep needs CIFAR-10 in the folder DATA (runs/data), as torchvision unpacks it: cifar-10-batches-py.
set -u
OUT=$1
shift
DATA=${DATA:-runs/data}
export PYTHONPATH="$OUT/packages:$PWD:$PWD/tests"
mkdir -p "$OUT/packages"
if [ -d wheels ]; then
    python3 -m pip install -q --no-index --no-deps --target "$OUT/packages" wheels/*.whl || exit 1
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv 2>/dev/null

part() {
    name=$1
    limit=$2
    shift 2
    echo "== $name, at most $limit s: $*"
    timeout "$limit" "$@" >"$OUT/$name.log" 2>&1
    echo "== $name: exit code $?"
    tail -n 25 "$OUT/$name.log"
}

for name in ${*:-tests manners training sweep}; do
    case $name in
    tests) part tests 180 python3 -m pytest -q --noconftest -o addopts= -p no:cacheprovider tests/training/test_execution.py -k cuda_graph ;;
    manners) part manners 420 python3 tests/benchmarks/manners.py --rounds 3 --out "$OUT/manners.md" ;;
    training) part training 360 python3 tests/benchmarks/training.py --widths 4,8,16,64 --rounds 3 --out "$OUT/training.md" ;;
    sweep)
        part sweep 540 python3 -m dbviz_ray.sweep double_descent --address none --stages train,evaluate --out "$OUT/sweep" \
            "resources.data_directory=$DATA" resources.gpus_per_cohort=1 training.epochs=30 \
            "grid.width=[2,4,8,10,16,32]" "grid.seed=[0,1,2]" "grid.label_noise=[0.2]"
        ;;
    *) echo "no part is called $name" >&2 ;;
    esac
done

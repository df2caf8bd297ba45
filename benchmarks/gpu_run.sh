#!/bin/bash
# One lease of a GPU, within ten minutes: ham10000_seresnext50's folds and their report, then
# benchmarks.gpu. What they make lies in OUT as soon as it is there, in few files.
#
#   OUT=DIR DATA=DIR [COMMIT=..] [EPOCHS=12] [TRAIN=300] [MEASURE=240] benchmarks/gpu_run.sh [--tiny]
#
# DATA holds HAM10000; ARRAYS and FOLDS may hold what prepare and split made of it before (the search
# for duplicates takes minutes: x_train_128.duplicates.json spares it). TRAIN and MEASURE are limits
# in seconds, 0 leaves the part out. The folds train beside one another. WEIGHTS belongs where writing
# is fast: a state is 500 MB.
# Run from the root; PYTHON has the requirements and timm, or `. benchmarks/gpu_wheels.sh` brought
# them. A fold that is finished is reported even when the time is over for the next.
set -u
OUT=${OUT:?a folder for what comes out}
PYTHON=${PYTHON:-python3}
NAME=ham10000_seresnext50
ARRAYS=${ARRAYS:-runs/arrays/ham10000_center} FOLDS=${FOLDS:-runs/folds/ham10000.csv}
WEIGHTS=${WEIGHTS:-runs/weights/$NAME}
export PYTHONUNBUFFERED=1 NO_ALBUMENTATIONS_UPDATE=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
tiny=${1:-}
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || true

pack() {
    tar -C "$WEIGHTS" --exclude='*.safetensors' --exclude='*.pt*' --exclude=.lock -czf "$OUT/run.tar.gz" .
}

if [ "${TRAIN:-300}" -gt 0 ]; then
    # As benchmarks/reference.py has it.
    places=(--config configs/ham10000_mobilenet.yaml --arrays "$ARRAYS" --data "${DATA:?}"
        --folds "$FOLDS" --weights "$WEIGHTS" --set "name=$NAME"
        --set model.backbone=se_resnext50_32x4d --set model.pretrained=none
        --set image.normalize=imagenet --set optimizer.depth_decay=1.0
        --set "training.epochs=${EPOCHS:-12}")
    [ -z "$tiny" ] || places+=(--set image.size=32 --set training.batch_size=32)
    # The array first; then all folds beside one another, a few loaders each.
    "$PYTHON" -m melanoma.prepare "${places[@]::6}" "${places[@]:10}" 2>&1 | tail -3
    for fold in 0 1 2 3 4; do
        timeout -k 20 "${TRAIN:-300}" "$PYTHON" -m melanoma.train "${places[@]}" --fold $fold \
            --set "training.workers=${WORKERS:-3}" > "$OUT/train_$fold.log" 2>&1 &
    done
    wait
    cut -c -220 "$OUT"/train_?.log | grep "^fold\|rror" | tail -40
    pack
    timeout 120 "$PYTHON" -m melanoma.evaluate "${places[@]}" --allow-missing 2>&1 |
        tee "$OUT/evaluate.log" | tail -25
    pack
fi

if [ "${MEASURE:-240}" -gt 0 ]; then
    timeout -s INT -k 20 "${MEASURE:-240}" "$PYTHON" -m benchmarks.gpu --out "$OUT/gpu.json" \
        ${COMMIT:+--commit "$COMMIT"} $tiny 2>&1 | tee "$OUT/gpu.log" | cut -c -1500
fi
ls -l "$OUT"

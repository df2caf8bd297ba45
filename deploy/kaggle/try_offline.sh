#!/usr/bin/env bash
# Runs Kaggle's notebook as Kaggle does, as far as a machine without Kaggle can: no network (a network
# namespace of its own), the input folders read-only, and of the Python packages torch's alone.
#   deploy/kaggle/try_offline.sh BUILT FOLDER [DATA]
# BUILT is what `make kaggle` wrote; DATA a few images in the competition's layout, else phantoms. The
# first session has one second: it installs, and is over before it trains. The next one is ended amid
# training, once its first state is saved, and the last one gets its output and goes on.
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILT=$(realpath "$1"); mkdir -p "$2"; FOLDER=$(realpath "$2"); PYTHON=$PWD/.venv/bin/python
rm -rf "${FOLDER:?}"/*; mkdir -p "$FOLDER"/{input,site,short,first,second}

DATA=$FOLDER/input/siim-isic-melanoma-classification
if [ -n "${3:-}" ]; then cp -rL "$3" "$DATA"; else
  "$PYTHON" -c "import sys; from pathlib import Path; from melanoma.data.phantoms.dataset import make_phantoms
make_phantoms(Path(sys.argv[1]), images=120, patients=40, size=96, seed=3)" "$DATA"
fi
cp -r "$BUILT" "$FOLDER/input/melanoma-offline"

# Kaggle's machine: Python with torch, torchvision and what runs notebooks.
"$PYTHON" -m venv "$FOLDER/venv"
HAVE=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for name in torch torchvision nvidia triton functorch torchgen cuda; do
  for path in "$HAVE/$name" "$HAVE/$name"-*.dist-info; do [ -e "$path" ] && ln -s "$path" "$FOLDER/site/" || true; done
done
for path in "$HAVE"/{nvidia_*,cuda_*}.dist-info; do [ -e "$path" ] && ln -s "$path" "$FOLDER/site/" || true; done
"$FOLDER/venv/bin/pip" install --quiet nbclient ipykernel nbformat fsspec networkx sympy
echo "$FOLDER/site" > "$(echo "$FOLDER"/venv/lib/python3*/site-packages)/torch_of_the_machine.pth"
chmod -R a-w "$FOLDER/input"

session() {  # NAME SECONDS
  MELANOMA_KAGGLE_INPUT="$FOLDER/input" MELANOMA_KAGGLE_WORKING="$FOLDER/$1" MELANOMA_KAGGLE_SECONDS="$2" \
  MELANOMA_KAGGLE_SET="image.size=64 training.epochs=2 folds.k=2 evaluation.resamples=100 evaluation.views=1" \
  PYTHONPATH= PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= OMP_NUM_THREADS=1 \
  unshare --net --mount --map-root-user sh -c '
    mount --bind "$0/input" "$0/input" && mount -o remount,bind,ro "$0/input"
    "$0/venv/bin/python" -c "
import fcntl, socket, struct
with socket.socket() as one: fcntl.ioctl(one, 0x8914, struct.pack(\"16sh14x\", b\"lo\", 0x41))
try: socket.create_connection((\"192.0.2.1\", 443), timeout=2); raise SystemExit(\"there is a network\")
except OSError: pass
import nbformat
from nbclient import NotebookClient
book = nbformat.read(\"'"$BUILT"'/notebook/melanoma_offline.ipynb\", 4)
NotebookClient(book, timeout=1500, kernel_name=\"python3\").execute()
for cell in book.cells:
    for out in cell.get(\"outputs\", []): print(out.get(\"text\", \"\"), end=\"\")
"' "$FOLDER"
}
before=$(find "$FOLDER/input" -type f -printf '%P %s\n' | sort | sha256sum)
session short 1
[ ! -e "$FOLDER/short/submission.csv" ] || { echo "the short session finished"; exit 1; }
session first 3600 & RUNNING=$!
until find "$FOLDER/first" -name state.json | grep -q .; do
  kill -0 $RUNNING 2>/dev/null || { echo "the first session ended without a state"; exit 1; }
  sleep 0.2
done
# What the notebook itself does when its time is over.
kill -TERM "$(pgrep -f -- "-m melanoma.train .*$FOLDER/first/weights" | head -n 1)"
wait $RUNNING
[ ! -e "$FOLDER/first/submission.csv" ] || { echo "the first session finished"; exit 1; }
# "Attached": the first version's output among the inputs of the second.
chmod u+w "$FOLDER/input"; cp -r "$FOLDER/first" "$FOLDER/input/earlier"; chmod -R a-w "$FOLDER/input"
session second 3600
chmod u+w "$FOLDER/input"; chmod -R u+w "$FOLDER/input/earlier"; rm -r "$FOLDER/input/earlier"
[ "$before" = "$(find "$FOLDER/input" -type f -printf '%P %s\n' | sort | sha256sum)" ] || { echo "the input was changed"; exit 1; }
cut -d, -f1 "$DATA/sample_submission.csv" | cmp - <(cut -d, -f1 "$FOLDER/second/submission.csv")
echo "submission.csv of $(($(wc -l < "$FOLDER/second/submission.csv") - 1)) test images, resumed amid training, offline"

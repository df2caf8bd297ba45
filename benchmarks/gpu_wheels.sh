#!/bin/bash
# The wheels that a lent GPU lacks, of the versions in requirements.lock.
#
#   benchmarks/gpu_wheels.sh DIR [3.12]       # here: DIR/*.whl for that Python on x86-64
#   . benchmarks/gpu_wheels.sh DIR            # there, in bash: unpacks them, and tries that all imports;
#                                             # melanoma.egg-info, which git ignores, must be carried
#
# What such a machine has, for it comes with its torch, is left out by name: a list of its packages is
# not to be trusted with more (annotated-types stood in one, was absent, and cost a lease).
set -u
THERE='numpy|scipy|pandas|scikit-learn|scikit-image|opencv-python-headless|matplotlib|contourpy|fonttools'
THERE+='|kiwisolver|networkx|sympy|mpmath|setuptools|tifffile|imageio|joblib'
NEEDLESS='openvino|opentelemetry-api|nvidia-cuda-cccl|colorama|narwhals|cloudpickle|tzdata'

if [ "${BASH_SOURCE[0]}" != "$0" ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target /tmp/site "$1"/*.whl
    export PYTHONPATH=/tmp/site:$PWD PYTHONUNBUFFERED=1 NO_ALBUMENTATIONS_UPDATE=1
    python3 - <<'PYTHON'
import importlib, importlib.metadata, pkgutil
importlib.metadata.version("melanoma")  # its own records: carry melanoma.egg-info
import melanoma, timm, torch
for part in pkgutil.walk_packages(melanoma.__path__, "melanoma."):
    if not part.name.startswith(("melanoma.cluster", "melanoma.scoring", "melanoma.__main__")):
        importlib.import_module(part.name)
import benchmarks.gpu, benchmarks.second_edition
print("torch", torch.__version__, "timm", timm.__version__, "cuda", torch.cuda.is_available())
PYTHON
    return
fi

platforms=()
for tag in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${tag}_x86_64"); done
grep -oE '^[A-Za-z0-9_.-]+==[^ ;\]+' requirements.lock | grep -vE "^($THERE|$NEEDLESS)==" |
    while read -r pinned; do
        # pretrainedmodels has no wheel: pip makes one, the same for every machine.
        python3 -m pip download -q --no-deps --only-binary=:all: --python-version "${2:-3.12}" \
            --implementation cp --platform manylinux2014_x86_64 "${platforms[@]}" -d "$1" "$pinned" 2> /dev/null ||
            python3 -m pip wheel -q --no-deps -w "$1" "$pinned" || exit 1
    done
ls -l "$1"

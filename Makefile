# Two commands: `make demo` (set-up and the main job) and `make test` (set-up and tests).
PYTHON ?= python3
BIN := .venv/bin
PIP_OPTIONS ?=
SERVE ?= 1
HOST ?= 127.0.0.1
PORT ?= 8000
# The model that comes with the clone: what the page shows first.
SHIPPED := weights/dermoscopy_mobilenet
WEIGHTS ?= $(SHIPPED)
export NO_ALBUMENTATIONS_UPDATE := 1
# What Python compiles is kept, wherever else it is not: every process that a test starts would
# compile hundreds of modules anew, three seconds each.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help

.PHONY: help setup demo serve test test-quick test-cluster lint docs lock image clean

help:
	@echo "make setup   .venv with everything that development needs"
	@echo "make demo    phantoms, five folds, report, page on http://$(HOST):$(PORT) (SERVE=0 stops before serving)"
	@echo "make serve   the page and POST /predict over $(WEIGHTS) (WEIGHTS='DIR DIR' for others)"
	@echo "make test    set-up, then the tests"
	@echo "make test-quick    those that need neither a browser, nor nginx, nor much time"
	@echo "make test-cluster  those of Ray: installs the extras [ray], [ray-serve], [s3] and moto (250 MB), starts two nodes"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make lock    requirements.lock anew, from setup.cfg (needs uv)"
	@echo "make docs    the documentation, into build/site"
	@echo "make image   the container's image, by docker, buildah or podman"
	@echo "make kaggle  build/kaggle: a data set of wheels and a model, and the notebook that runs from it offline"

setup: .venv/.installed

.venv/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 setup"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on $(PIP_OPTIONS) -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m melanoma.prepare --config demo --data data/phantoms --arrays arrays/demo
	$(BIN)/python -m melanoma.split --config demo --data data/phantoms --arrays arrays/demo
	$(BIN)/python -m melanoma.train --config demo --data data/phantoms --arrays arrays/demo --fold all
	$(BIN)/python -m melanoma.evaluate --config demo
ifneq ($(SERVE),0)
	$(MAKE) serve WEIGHTS="$(SHIPPED) weights/demo"
endif

serve: setup
	$(BIN)/python -m melanoma.serve $(addprefix --weights ,$(WEIGHTS)) --host $(HOST) --port $(PORT)

# Two processes of one thread each: small networks gain nothing from a second thread. In the order
# of tests/conftest.py: what takes long comes first, so that both end together.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

test: setup
	$(PYTEST)

test-quick: setup
	$(PYTEST) -q -m "not slow and not browser and not deploy"

# Two Ray nodes on this machine, some of whose processes are killed, and a server that speaks S3.
test-cluster: setup
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_OPTIONS) -e '.[ray,ray-serve,s3]' 'moto[server]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/cluster

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports setup.cfg

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# BASE=IMAGE and TORCH_INDEX=URL are deploy/image.sh's. Whatever is absent here is said.
image: setup
	bash deploy/image.sh
	$(BIN)/python -m benchmarks.image

# KAGGLE_PYTHON is what `!python --version` says there; OWNER the account.
KAGGLE_PYTHON ?=
OWNER ?= OWNER
kaggle: setup
	$(BIN)/python deploy/kaggle/build.py build/kaggle --owner $(OWNER) $(addprefix --python ,$(KAGGLE_PYTHON))

# torch and what it brings are left out: they come from the index that fits the machine.
UNLOCKED := torch torchvision triton cuda-toolkit cuda-bindings cuda-pathfinder $(addprefix nvidia-,\
  cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse \
  cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

# openvino asks for openvino-telemetry, which reports each import to Google; it runs without.
UNLOCKED += openvino-telemetry

lock:
	uv pip compile setup.cfg --extra openvino --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" $(addprefix --no-emit-package ,$(UNLOCKED)) \
	  -o requirements.lock --quiet

clean:
	rm -rf arrays/demo data/phantoms weights/demo folds/demo.csv

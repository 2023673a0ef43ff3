PYTHON ?= python3
VENV := .venv
# processes that run tests, of one thread each
TEST_WORKERS ?= 2
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
# whatever the locale: names of files here have an ε
export PYTHONUTF8 := 1

KILLS ?= 40
SEED ?= 0
# versions to install; requirements-cpu.lock where there is no GPU, see docs/install.md
LOCK ?= requirements.lock
# items of the pipeline at once, of one thread each; 1: dvc repro
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)

.PHONY: help repro test test-fast slurm-test crash-test crash-test-parallel bench lint ui clean
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

repro: $(VENV)/ready ## regenerate all results, JOBS stages at once, print them, and compare with the commit
	@git rev-parse --git-dir > /dev/null 2>&1 || \
	{ echo "error: no git repository here, which DVC works in; run: git init && git add -A && git commit -m start" >&2; exit 2; }
	$(if $(filter 1,$(JOBS)),dvc repro,deps repro -j $(JOBS))
	deps show
	@deps verify || [ $$? -eq 2 ] # 2: there is nothing to compare with

test: $(VENV)/ready ## all tests
	OMP_NUM_THREADS=1 pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "slow or not slow"

test-fast: $(VENV)/ready ## tests of single modules only
	pytest

slurm-test: $(VENV)/ready ## run a small experiment in a Slurm of its own; needs root, slurmctld, slurmd, slurm-client, munge
	OMP_NUM_THREADS=1 pytest tests/cli/parallel/test_slurm.py -m slow

crash-test: $(VENV)/ready ## kill a small experiment KILLS times at random moments, and compare its results
	OMP_NUM_THREADS=1 python -m tests.tools.crash --kills $(KILLS) --seed $(SEED)

crash-test-parallel: $(VENV)/ready ## the same of deps repro -j 2
	OMP_NUM_THREADS=1 python -m tests.tools.crash --kills $(KILLS) --seed $(SEED) --jobs 2

bench: $(VENV)/ready ## compare speed and memory with plain ways of doing the same; writes reports/benchmarks.md
	python -m benchmarks

lint: $(VENV)/ready ## format, lint and type checks; environment and imports against what is declared
	ruff format --check .
	ruff check .
	pyright
	python -m tests.tools.audit

ui: $(VENV)/ready ## MLflow UI over the local store, on 127.0.0.1, and links to the comparison of methods
	deps ui --port $${PORT:-5000}

clean: ## remove results and the store, but not the environment
	rm -rf runs .state mlflow.db mlartifacts reports/tracked.json reports/checked

# Exact versions from the lock; the package itself is installed in place.
$(VENV)/ready: $(LOCK) pyproject.toml
	@echo "setting up $(VENV) from $(LOCK); downloading takes minutes" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement $(LOCK) || \
	{ $(if $(findstring cpu,$(LOCK)),echo "error: pip finds no torch for CPUs; tell it where PyTorch has them: docs/install.md" >&2;) exit 2; }
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

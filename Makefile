# Everything runs in .venv, made by `make setup`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLD := .venv-torch211
SEEDS ?= 0
# Pictures of 64 px do not keep several cores busy: two runs with half of them each end sooner.
SIDE_BY_SIDE := hydra/launcher=joblib hydra.launcher.n_jobs=2

.DEFAULT_GOAL := help
.PHONY: help setup weights demo test test-slow test-torch211 check lint types format bench wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## make .venv with everything the demo and the tests need

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# Without these files, tests of the face detector and of ImageNet weights are skipped by name.
	$(BIN)/python tools/fetch_detectors.py || true
	$(BIN)/python tools/fetch_imagenet.py || true
	touch $@

weights: setup  ## get the face detectors of crop=detect (7 MB) and MobileNetV2's ImageNet weights (13 MB)
	$(BIN)/python tools/fetch_detectors.py
	$(BIN)/python tools/fetch_imagenet.py

demo: setup  ## train four arms and their twins on rendered faces and compare them (SEEDS=0,1,2 for more seeds)
	$(BIN)/python -m mtlface.train sweep=celeba_landmarks_gender profile=demo seed=$(SEEDS) $(SIDE_BY_SIDE)
	$(BIN)/python -m mtlface.compare runs=outputs/celeba_landmarks_gender

test: setup  ## run the tests that a laptop runs in minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist loadfile

test-slow: setup  ## run the long tests: simulations, fuzzing, kill and resume
	$(BIN)/python -m pytest -m "slow and not gpu" --timeout=3600

$(OLD)/.ready: pyproject.toml constraints.txt
	test -x $(OLD)/bin/python || $(PYTHON) -m venv $(OLD)
	grep -vE '^(torch|torchvision|triton|nvidia|cuda)[-=_]' constraints.txt > $(OLD)/constraints.txt
	printf 'torch==2.11.0\ntorchvision==0.26.0\n' >> $(OLD)/constraints.txt
	$(OLD)/bin/python -m pip install --quiet --disable-pip-version-check -c $(OLD)/constraints.txt \
		-e '.[balancing,identity,joblib]' hypothesis pytest pytest-timeout pytest-xdist scikit-learn
	touch $@

test-torch211: $(OLD)/.ready  ## run the device tests with torch 2.11, which many GPU machines have (5 GB)
	OMP_NUM_THREADS=1 $(OLD)/bin/python -m pytest -m "not slow and not gpu" -n 2 --dist loadfile tests/gpu

check: setup lint types test  ## lint, types and tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## run the benchmarks; results go to benchmarks/results/
	$(BIN)/python -m benchmarks

wheel: setup  ## build dist/*.whl
	$(BIN)/python -m build --wheel

clean:  ## remove the environment and build leftovers; run folders stay
	rm -rf $(VENV) $(OLD) dist build .pytest_cache .ruff_cache .mypy_cache

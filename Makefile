# The two commands of a newcomer: `make demo` and `make test`. Everything runs in .venv, made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= outputs
# On small machines one thread a process is faster than all of them.
export OMP_NUM_THREADS ?= 1

.PHONY: env demo test lint bench clean

env: $(VENV)/.ready

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: env
	$(BIN)/python tools/run.py --config-file configs/Grocery/dolg_mobilenetv2.yml --out $(OUT)/demo

test: env lint
	$(BIN)/python -m pytest -q

lint: env
	$(BIN)/ruff check --quiet .

bench: env
	$(BIN)/python benchmarks/k_reciprocal.py --out benchmarks/results/k_reciprocal.json
	$(BIN)/python benchmarks/ranking_evaluation.py --out benchmarks/results/ranking_evaluation.json
	$(BIN)/python benchmarks/loader.py --out benchmarks/results/loader.json

clean:
	rm -rf $(VENV) $(OUT)

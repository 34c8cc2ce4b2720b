# The two commands of a newcomer: `make demo` and `make test`. Everything runs in .venv, made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= outputs
# Large pages for torch's buffers: training on a CPU is half as fast again with them. Other systems ignore these names.
PAGES := GLIBC_TUNABLES=glibc.malloc.hugetlb=1 MALLOC_MMAP_THRESHOLD_=2000000000 \
	MALLOC_TRIM_THRESHOLD_=2000000000 MALLOC_TOP_PAD_=268435456

.PHONY: env demo test lint bench clean

env: $(VENV)/.ready

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: env
	$(PAGES) $(BIN)/python tools/run.py --config-file configs/Grocery/dolg_mobilenetv2.yml --out $(OUT)/demo

test: env lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

lint: env
	$(BIN)/ruff check --quiet .

bench: env
	for name in k_reciprocal ranking_evaluation loader contest_files; do \
		OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py --out benchmarks/results/$$name.json || exit; done

clean:
	rm -rf $(VENV) $(OUT)

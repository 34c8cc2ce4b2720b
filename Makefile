# The two commands of a newcomer: `make demo` and `make test`. Everything runs in .venv, made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= outputs
# Images and small weights that lie beside a checkout; the package itself knows no such path.
BESIDE := $(wildcard ../shared/data)
ifneq ($(BESIDE),)
export FASTREID_DATASETS ?= $(abspath $(BESIDE))
endif

.PHONY: env demo reid-ablation digix landmark semi finegrained test lint docs bench bench-full clean

env: $(VENV)/.ready

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: env
	$(BIN)/python -m fastseek demo --out $(OUT)/demo

reid-ablation: env
	$(BIN)/python tools/ablate.py projects/ReIDBaseline/ablation.yml --out $(OUT)/reid-ablation --jobs 2

digix: env
	$(BIN)/python tools/contest.py --recipe projects/DIGIX2020/small/second_place.yml \
		projects/DIGIX2020/small/third_place.yml projects/DIGIX2020/small/third_place_joined.yml --out $(OUT)/digix

landmark: env
	$(BIN)/python tools/contest.py --out $(OUT)/landmark --recipe $(addprefix \
		projects/Landmark2021/small/,retrieval.yml retrieval_index.yml recognition.yml)

semi: env
	$(BIN)/python tools/grow.py --plan projects/SemiINat2021/plans/small.yml --out $(OUT)/semi

finegrained: env
	$(BIN)/python tools/ablate.py projects/INat2021/ablation.yml,projects/Sorghum100/ablation.yml \
		--out $(OUT)/finegrained --jobs 2

test: env lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal

lint: env
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy

# The pages of parts and keys are made from the package; a broken link is an error.
docs: env
	mkdir -p $(OUT)
	$(BIN)/fastseek parts --markdown > $(OUT)/parts.md && cp $(OUT)/parts.md docs/
	$(BIN)/fastseek recipes keys --markdown > $(OUT)/keys.md && cp $(OUT)/keys.md docs/
	$(BIN)/mkdocs build --strict --quiet --site-dir $(OUT)/site

bench: env
	for name in k_reciprocal ranking_evaluation loader contest_files exact_search; do \
		OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py --out benchmarks/results/$$name.json || exit; done
	$(BIN)/python benchmarks/table.py --out benchmarks/results/targets.json

# The sizes that take hours, and 19 GB for the peers at their largest.
bench-full: env
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/k_reciprocal.py --max-ram 18 --out benchmarks/results/k_reciprocal.json \
		--rows 1000/20/6 3000/20/6 10000/20/6 20000/20/6 100000/20/6 3000/50/15 10000/50/15
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/k_reciprocal.py --max-ram 18 --rows 300000/20/6 \
		--out benchmarks/results/k_reciprocal_large.json
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/k_reciprocal.py --max-ram 18 --rows 1000000/20/6 \
		--out benchmarks/results/k_reciprocal_million.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/exact_search.py --sizes 1000000 --runs 1 \
		--out benchmarks/results/exact_search_million.json
	$(BIN)/python benchmarks/table.py --out benchmarks/results/targets.json

clean:
	rm -rf $(VENV) $(OUT)

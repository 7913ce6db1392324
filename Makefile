# Every target sets up .venv from nothing on first use, and again only when pyproject.toml or constraints.txt changed.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# uv does not read pip's variable; without the extra links it would resolve torch to a CUDA build.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifneq ($(wildcard ../shared/data),)
export DEEPSCOPE_DATA ?= $(abspath ../shared/data)
endif

.PHONY: examine test verify verdicts lint bench clean
.DEFAULT_GOAL := examine

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "deepscope needs Python 3.11 or newer; say which with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@rm -f $@
ifeq ($(UV),)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cluster,data,test,topology]'
else
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[cluster,data,test,topology]'
endif
	@touch $@

.peers/.ready: benchmarks/peers.txt
	@rm -f $@
ifeq ($(UV),)
	@test -x .peers/bin/python || $(PYTHON) -m venv .peers
	.peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/peers.txt
else
	@test -x .peers/bin/python || $(UV) venv --quiet --python $(PYTHON) .peers
	$(UV) pip install --quiet --python .peers/bin/python --no-deps --requirement benchmarks/peers.txt
endif
	@touch $@

examine: $(VENV)/.ready  ## train a small network on handwritten digits, examine it, write report.html
	$(BIN)/deepscope examine --out report.html

lint: $(VENV)/.ready  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## everything that needs no peer and no browser (15 minutes at most)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not verify" --doctest-modules src tests

# One process each: two run side by side. All others start processes of their own.
SINGLE := $(wildcard $(patsubst %,tests/verify/test_*_%.py,calibration capacity coverage models networks peers exponent recovery)) \
          $(patsubst %,tests/verify/test_%.py,frequency_order shuffled_labels symmetry)

verify: $(VENV)/.ready .peers/.ready  ## peers, calibration, kill tests, pages in a browser (45 minutes at most)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m verify $(SINGLE)
	$(BIN)/pytest -m verify tests $(SINGLE:%=--ignore=%)

verdicts: $(VENV)/.ready  ## run every study again, not only those whose turn it is in `make verify` (an hour of CPU)
	STUDIES=all $(BIN)/pytest -m verify tests/verify/test_study_verdicts.py

bench: $(VENV)/.ready .peers/.ready  ## side by side with the peers; writes benchmarks/results.json and the README's numbers
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) .peers

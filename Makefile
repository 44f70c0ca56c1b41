# Everything a fresh machine needs: Python 3.11 or newer, make and a C compiler. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
TORCH := torch==2.13.0
DEMO_RUN ?= runs/demo

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
.PHONY: help demo test check verify chaos browser bench bench-gpu notebook clean

help:
	@echo "make demo     set up, then search 64 simulated stars: ranked candidates, found and injected signals"
	@echo "make test     set up, then the tests (minutes)"
	@echo "make check    style, types and the direction of imports"
	@echo "make verify   the long tests: real files, kills, fresh installs"
	@echo "make chaos    all the kills and failures of which verify makes a tenth, told in docs/reliability.md (half an hour)"
	@echo "make bench    speed and memory, written to BENCHMARKS.md"
	@echo "make bench-gpu the search on this machine's GPU (PYTHON needs jax with CUDA, numpy and scipy)"
	@echo "make notebook run docs/notebooks/one_star.ipynb again and keep its figures"
	@echo "make clean    remove the virtual environment and what tools left behind"

demo: $(VENV)/.runtime
	$(BIN)/survey sweep --demo --out $(DEMO_RUN)

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not verify"

verify: $(VENV)/.test browser
	$(BIN)/python -m pytest -m verify

chaos: $(VENV)/.test
	SURVEY_CHAOS=1 $(BIN)/python -m pytest tests/chaos -m chaos

# Pages are tested in Debian's Chromium; where it cannot be had, those tests say so and are skipped.
browser:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } \
		|| echo "no Chromium: the pages are not tested in a browser"

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

bench-gpu:
	$(PYTHON) benchmarks/gpu.py --json benchmarks/gpu.json

notebook: $(VENV)/.test
	$(BIN)/jupyter-execute --inplace docs/notebooks/one_star.ipynb

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch alone first: left to the resolver, the other packages may pull in another build of it.
$(VENV)/.torch: | $(VENV)/bin/python
	$(PIP) $(TORCH)
	@touch $@

$(VENV)/.runtime: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(PIP) -c constraints.txt -e ".[test]"
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(PIP) -c constraints.txt -e ".[test,bench]"
	@touch $@

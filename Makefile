# `make demo` shows the whole site, `make test` checks it. Options: PORT=8001 PYTHON=python3.12 FOLDER=~/Pictures
PORT ?= 8000
PYTHON ?= python3
FOLDER ?=
N ?= 100000
export PORT FOLDER

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: demo test lint bench faults fuzz clean

demo: CHECKED = --port $(PORT)
demo: $(VENV)/installed-demo
	@exec $(BIN)/python -m project.demo --port "$$PORT" $${FOLDER:+"$$FOLDER"}

test: lint
	@exec $(BIN)/python -m pytest

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Measures the search engine beside what others do, in minutes; makes its library of N assets the first time. BENCH
# names what to measure: BENCH="recall router".
bench: $(VENV)/installed-test
	@exec $(BIN)/python -m benchmarks.engine --n $(N) $(BENCH)

# Kills everything again and again, for hours; FAULTS="chaos-celery --seeds 1" runs one experiment once.
faults: $(VENV)/installed-test
	@exec $(BIN)/python -m benchmarks.faults $(FAULTS)

# Opens ten thousand damaged files, which takes some minutes; FUZZ="~/Pictures --count 1000" takes others and fewer.
fuzz: $(VENV)/installed-test
	@exec $(BIN)/python -m benchmarks.faults.fuzz $(FUZZ)

# Ends what a killed demo left running, too.
clean:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m project.leftovers || true; fi
	rm -rf $(VENV) .demo .test .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info

$(VENV)/installed-demo: pyproject.toml
	@$(PYTHON) -I project/preflight.py $(CHECKED)
	@echo "Installing into $(VENV): a few minutes, this one time."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/installed-test: pyproject.toml $(VENV)/installed-demo
	@echo "Installing what the tests need."
	@$(INSTALL) -e '.[test]'
	@touch $@

# Every target sets .venv up by itself when that is needed; OPTIONS are handed on, e.g. make demo OPTIONS=--json
PYTHON ?= python3
OPTIONS ?=

BIN := .venv/bin
READY := .venv/.ready

# Tests start processes by the hundred: where no bytecode is kept, each compiles all that it imports, seconds of it.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test screens coverage mutation lint up bench bench-check campaign estimates simulate-faults fuzz fuzz-http

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## set .venv up with everything that is locked

demo: $(READY) ## a simulated day through the real system, shown live and audited
	@$(BIN)/opd demo $(OPTIONS)

test: $(READY) ## every test; needs no server of yours
	@$(BIN)/python -m services.stack
	@$(BIN)/python -m tests.screens.chromium
	@$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(OPTIONS)

screens: $(READY) ## look at every page: docs/screens/ made anew
	@$(BIN)/python -m services.stack
	@$(BIN)/python -m tests.screens.chromium
	@$(BIN)/python -m tests.screens

simulate-faults: $(READY) ## 20,000 simulated schedules of faults; OPTIONS=FIRST:LAST, ="FIRST:LAST redis" on a real one, or =SEED with its story
	@$(BIN)/python -m tests.faults $(or $(OPTIONS),0:20000)

coverage: $(READY) ## every branch of the rules and the contract, in Python and every line in Lua, is run by a test
	@$(BIN)/coverage run -m pytest -q -p tests.once -p tests.lua_lines tests/core tests/schemas
	@$(BIN)/coverage report

mutation: $(READY) ## what no test would notice if it were wrong; OPTIONS=--help
	@$(BIN)/python -m tests.mutation $(OPTIONS)

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

up: $(READY) ## the whole system on this machine until Ctrl-C
	@$(BIN)/opd up $(OPTIONS)

fuzz: $(READY) ## a million hostile records, some of them through a running allocator; OPTIONS=--help
	@$(BIN)/python -m tests.fuzz $(OPTIONS)

fuzz-http: $(READY) ## requests made of the OpenAPI document, to a gateway of a whole system; OPTIONS=--help
	@$(BIN)/python -m tests.http_fuzz $(OPTIONS)

bench: $(READY) ## how fast it is, beside moving the bytes and beside others; OPTIONS=--quick for a look, --help
	@$(BIN)/python -m services.stack
	@$(BIN)/python -m benchmarks $(OPTIONS)

bench-check: $(READY) ## whether anything became much slower or larger; OPTIONS=--update writes the baseline
	@$(BIN)/python -m services.stack
	@$(BIN)/python -m benchmarks.check $(OPTIONS)

estimates: $(READY) ## how often patients are called before the time that they were told, on simulated days; OPTIONS=--help
	@$(BIN)/python -m services.simulator.estimates $(OPTIONS)

campaign: $(READY) ## ten minutes of faults on real processes under load, then the audit
	@$(BIN)/python -m tests.campaign $(OPTIONS)

# uv installs in seconds; where it cannot reach an index, pip may: it knows the machine's own configuration.
$(READY): pyproject.toml requirements.lock requirements-bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is not: try make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up .venv: downloads about 100 MB the first time"
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv || \
		{ echo "$(PYTHON) cannot make a venv: install its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock && \
		$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock; } || \
		$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock || \
		{ echo "The packages of requirements.lock cannot be installed: is there a network, or a mirror in pip's configuration?" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

# `make` lists the commands. `make demo PYTHON=python3.12` chooses the interpreter;
# otherwise the first of python3, python3.13, python3.12, python3.11 that is new enough is taken.

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
SEEDS_SOAK ?= 1-20000
MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help demo check test soak swarm stand mutation hunt fmt lint fast seeds-50 seeds-300 all-tests \
    real-tests real-processes real-clients

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## install into .venv and run the happy path
	@$(BIN)/lab run happy-path

check: lint fast seeds-50 ## format, lint, imports, types, fast tests, 50 seeds (90 s)

test: check seeds-300 all-tests ## check, then every test, 300 seeds in all (25 min at most)

soak: swarm ## everything over SEEDS_SOAK, other scenarios over 1,000 seeds, mutation, hunt, stand, bench (hours)
	@for name in $$($(BIN)/lab list --json | $(BIN)/python -c 'import json, sys; \
	    print(*(s["name"] for s in json.load(sys.stdin) if not s["swarm"]))'); do \
	    $(BIN)/lab run "$$name" --seeds 1-1000 --quiet || exit; \
	done
	scripts/with-servers $(BIN)/python -m pytest -q -m soak
	scripts/with-servers $(BIN)/lab run everything --real --seeds 1-50 --orders 20 --quiet
	$(MAKE) stand
	$(MAKE) mutation
	$(MAKE) hunt
	$(BIN)/lab bench

swarm: $(VENV)/.installed-dev ## everything over SEEDS_SOAK, on all cores; what was reached how often
	$(BIN)/python -m tests.soak --seeds $(SEEDS_SOAK) --orders 1-60 --catalogue 3

stand: $(VENV)/.installed-dev ## a standing system under load for MINUTES (10), with trouble once a minute
	scripts/with-servers $(BIN)/python -m tests.stand --minutes $(MINUTES)

mutation: $(VENV)/.installed-dev ## which change of a pattern or the delivery loop no test notices (hours)
	$(BIN)/mutmut run
	$(BIN)/mutmut results

hunt: $(VENV)/.installed-dev ## which bug in the business no run notices; goes on where it ended (hours)
	$(BIN)/python -m tests.hunt --resume hunt.json

fmt: $(VENV)/.installed-dev ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# ---- parts of check and test, in the order that finds a mistake soonest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

fast: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest tests/unit tests/contract -q -n auto -m 'not slow and not real' \
	    --cov --cov-report=term:skip-covered

seeds-50: $(VENV)/.installed-dev fast
	$(BIN)/lab run crashes --seeds 1-50 --orders 20 --quiet

seeds-300: $(VENV)/.installed-dev seeds-50
	$(BIN)/lab run crashes --seeds 51-300 --orders 20 --quiet

# What `fast` has run is not run again. Real servers are shared, and some tests make them fail: those
# are marked `alone`, and run one after the other.
all-tests: $(VENV)/.installed-dev seeds-300
	$(BIN)/python -m pytest tests/unit tests/contract -q -n auto -m 'slow and not real'
	$(BIN)/python -m pytest tests/sim tests/planted_bugs tests/cli -q -n auto -m 'not real' --durations=10
	scripts/with-servers $(MAKE) --no-print-directory real-tests

# Side by side: those that start whole systems or ask the search server, one after the other, and those
# that need one client or a browser. Then, alone, those that make a server fail.
real-tests:
	$(MAKE) --no-print-directory -j 2 real-processes real-clients
	$(BIN)/python -m pytest -q -m 'real and alone and not soak' --durations=10

real-processes:
	$(BIN)/python -m pytest -q -m 'real and processes and not soak and not alone' --durations=10

real-clients:
	$(BIN)/python -m pytest -q -m 'real and not processes and not soak and not alone' --durations=10

# ---- the environment: made once, installed again when pyproject.toml changes

# pip where the environment has it, uv where uv made the environment without it.
define install
@if $(BIN)/python -m pip --version >/dev/null 2>&1; then \
    $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check $(1); \
else \
    uv pip install --quiet --python $(BIN)/python $(1); \
fi
endef

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	@echo 'installing the lab into $(VENV) ...' >&2
	$(call install,-e .)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml
	@echo 'installing the lab and its tools into $(VENV) ...' >&2
	$(call install,-e '.[dev]')
	@touch $(VENV)/.installed $@

$(VENV)/.made:
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
	    for python in $(PYTHONS) ''; do \
	        "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo 'Python 3.11 or newer is needed; tried: $(PYTHONS).' >&2; \
	        echo 'Name one: make demo PYTHON=/path/to/python3' >&2; \
	        exit 1; \
	    elif "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	        "$$python" -m venv $(VENV); \
	    elif command -v uv >/dev/null; then \
	        uv venv --quiet --python "$$python" $(VENV); \
	    else \
	        echo "$$python cannot make a virtual environment: the package python3-venv is missing." >&2; \
	        echo 'Install it (Debian, Ubuntu: apt-get install python3-venv) or uv, then repeat.' >&2; \
	        exit 1; \
	    fi; \
	fi
	@touch $@

# `make help` lists the targets.  Everything is installed in .venv; a stamp there says that an install is complete.
#
#   make demo                     the runtime extras, then the demonstration
#   make test ARGS='-k wheel'     ARGS goes to the command at the end of a target
#   make demo PIP_ARGS='...'      PIP_ARGS goes to pip: an index that has torch without CUDA, a proxy, a wheel folder
#   make demo PYTHON=python3.12   PYTHON is the interpreter that creates .venv

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PIP_ARGS ?=
ARGS ?=

BIN := .venv/bin
SOURCES := pyproject.toml constraints.txt

# pip says a lot: shown are downloads of 10 MB and more and the last steps, the rest is in .venv/pip.log.
define PIP_INSTALL
set -o pipefail; PIP_DISABLE_PIP_VERSION_CHECK=1 \
  $(BIN)/python -m pip install --progress-bar off $(PIP_ARGS) -c constraints.txt -e '.[$(1)]' 2>&1 | tee .venv/pip.log \
  | { grep --line-buffered -E '^ *(Downloading|Using cached) .*\(([0-9]{2,}(\.[0-9]+)? MB|.* GB)|^Installing|^ERROR' \
      | sed -E 's/^ */  /; s/^(  Installing collected packages).*/\1 .../' || true; } \
  || { echo "error: pip failed; the end of .venv/pip.log is:" >&2; tail -n 20 .venv/pip.log >&2; exit 1; }
endef

.PHONY: demo studio test test-slow lint bench clean help

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18
	@echo "  variables: ARGS (passed on), PYTHON ($(PYTHON)), PIP_ARGS (passed to pip)"

# A film example with the film adapter, asked as it was trained; ARGS takes its place. The source distribution has no adapter.
FILMS := $(if $(wildcard adapters/films),films --adapter adapters/films --prompt-form next --title-words 16 --pages 3 --page-tokens 64)

demo: .venv/.demo ## install the runtime, then a recommendation of films (webrec demo ARGS)
	@$(BIN)/webrec demo --report out/demo.html $(or $(ARGS),$(FILMS))

studio: .venv/.dev ## langgraph dev without telemetry (langgraph dev ARGS)
	@LANGGRAPH_CLI_NO_ANALYTICS=1 LANGGRAPH_NO_VERSION_CHECK=true LANGSMITH_TRACING=false GOMP_SPINCOUNT=10000 MKL_DISABLE_FAST_MM=1 \
	  ONEDNN_PRIMITIVE_CACHE_CAPACITY=64 LRU_CACHE_CAPACITY=1 \
	  MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=16777216 MALLOC_TRIM_THRESHOLD_=67108864 \
	  $(BIN)/langgraph dev --n-jobs-per-worker 10 $(ARGS)

test: .venv/.dev ## the tests that take minutes, not more (pytest ARGS)
	@$(BIN)/pytest $(ARGS)

test-slow: .venv/.dev ## the tests marked slow (pytest -m slow ARGS)
	@$(BIN)/pytest -m slow $(ARGS)

lint: .venv/.dev ## ruff check, ruff format --check, mypy --strict on the built wheel
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/python scripts/typecheck_wheel.py

bench: .venv/.dev ## the measurements of webrec.eval (python -m webrec.eval.bench ARGS)
	@$(BIN)/python -m webrec.eval.bench $(ARGS)

clean: ## remove caches and build products; .venv stays (rm -r .venv takes that too)
	rm -rf .venv-types build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .langgraph_api
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

# A stamp is written only after pip has succeeded, so an interrupted install starts again at the next call.
.venv/.demo: $(SOURCES) | .venv/.ready
	@echo "Installing webrec[all] in .venv (some minutes the first time) ..."
	@$(call PIP_INSTALL,all)
	@touch $@

.venv/.dev: $(SOURCES) | .venv/.ready
	@echo "Installing webrec[dev] in .venv (some minutes the first time) ..."
	@$(call PIP_INSTALL,dev)
	@touch .venv/.demo $@

# An environment that is there and works is used as it is.
.venv/.ready:
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  command -v $(PYTHON) >/dev/null \
	    || { echo "error: $(PYTHON) not found; name a Python 3.11 or newer: make PYTHON=..." >&2; exit 1; }; \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "error: $(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=..." >&2; exit 1; }; \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "error: $(PYTHON) has no venv module; install it (Debian and Ubuntu: the package python3-venv)" >&2; exit 1; }; \
	  echo "Creating .venv with $$($(PYTHON) --version) ..."; \
	  $(PYTHON) -m venv .venv; \
	fi
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: .venv holds $$($(BIN)/python --version); remove it and call make PYTHON=... with 3.11 or newer" >&2; exit 1; }
	@touch $@

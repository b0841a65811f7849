# make repro   the full reproducible run          make ui      MLflow and Optuna's dashboard
# make test    checks and tests                   make test-slow  whole jobs, end to end
# make mirror  rebuild both tools' stores from results/
# make bench   every claim about speed, measured  make calibrate  false alarms among equal schedulers
# make published  published findings in miniature     make docs    the documentation as a site, in site/
# make faults  kills, damage and outages on purpose     make audit   known vulnerabilities of what is pinned
# make plan    what `make repro` would train, and how long that takes
# make quick TABLE=my.csv TARGET=price   or PROBLEM=digits: an answer within about a minute
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help repro plan quick test tests test-slow check style types ui mirror bench calibrate published faults audit docs clean constraints

PYTHON ?= python3
WORKERS ?= auto
# Bytecode is kept, also where the environment says otherwise: many processes would compile all modules anew.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
MLFLOW_PORT ?= 5000
OPTUNA_PORT ?= 8080
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)
export MLFLOW_DISABLE_TELEMETRY := true
# Somebody at a terminal sees pip's own progress; a log is spared it.
PIP := -m pip install $(shell [ -t 2 ] && [ -z "$$CI" ] || echo --quiet) --disable-pip-version-check

# A virtual environment holds absolute paths: one that was moved or copied here, or broke, is made anew.
HOME_OF_VENV := $(shell cat .venv/home 2>/dev/null)
ifneq ($(HOME_OF_VENV) $(wildcard .venv/bin/python),$(CURDIR) .venv/bin/python)
.PHONY: .venv/home
endif

help:
	@sed -n '/^#/p;/^#/!q' Makefile

repro: .venv/run.stamp
	@python -m pipeline plan || [ $$? -ne 2 ] # a mistake in params.yaml ends here; all else DVC and the stages tell
	@[ -e .git ] || git rev-parse --git-dir > /dev/null 2>&1 || dvc config --local core.no_scm true # a downloaded archive, which DVC refuses
	@dvc repro || { python scripts/mend.py && dvc repro; } || \
		{ python -m pipeline.stages.check; exit 1; } # a problem's name that DVC itself stumbles over is told in our words
	@echo && python -m pipeline

plan: .venv/run.stamp
	@python -m pipeline plan

quick: .venv/run.stamp
	@python -m pipeline quick $(if $(TABLE),"$(TABLE)" $(if $(TARGET),--target "$(TARGET)"),--problem "$(or $(PROBLEM),digits)")

test: .venv/test.stamp style
	@$(MAKE) --no-print-directory -j2 types tests # mypy, which takes minutes the first time, uses one core

tests: .venv/test.stamp
	$(PYTEST) -m "not slow"

test-slow: .venv/test.stamp
	$(PYTEST) -m slow

check: style types

style: .venv/test.stamp
	ruff check
	ruff format --check

types: .venv/test.stamp
	mypy

bench: .venv/run.stamp
	python -m benchmarks.tracing
	python -m benchmarks.throughput
	python -m benchmarks.models
	python -m benchmarks.study
	python -m benchmarks.scaling
	python -m benchmarks.roofline
	python -m benchmarks.where

calibrate: .venv/run.stamp
	python -m benchmarks.calibrate

published: .venv/run.stamp
	python -m benchmarks.published

faults: .venv/test.stamp
	python -m tests.faults

# Not in CI: a package index alone knows no vulnerabilities. What cannot be looked up is an error here.
audit: .venv/audit.stamp
	.venv/audit/bin/pip-audit --strict --disable-pip --no-deps -r requirements.txt
	.venv/audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

ui: .venv/run.stamp
	@sh scripts/ui.sh $(MLFLOW_PORT) $(OPTUNA_PORT)

mirror: .venv/run.stamp
	@python -m pipeline mirror

# Built and looked through: nothing in it may come from a network.
docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 .venv/docs/bin/mkdocs build --quiet --strict
	@python scripts/offline.py site

.venv/home:
	@$(PYTHON) scripts/check_python.py
	rm -rf .venv
	$(PYTHON) -m venv .venv # some seconds
	@echo "$(CURDIR)" > .venv/home

.venv/run.stamp: .venv/home requirements.txt constraints.txt
	@echo "installing requirements.txt: a download of about 1 GB, minutes; once"
	.venv/bin/python $(PIP) -r requirements.txt
	@touch $@

.venv/test.stamp: .venv/run.stamp requirements-test.txt requirements-examples.txt requirements-timm.txt
	.venv/bin/python $(PIP) -r requirements-test.txt -r requirements-examples.txt
	.venv/bin/python $(PIP) --no-deps -r requirements-timm.txt
	@touch $@

.venv/docs.stamp: .venv/home requirements-docs.txt
	rm -rf .venv/docs
	$(PYTHON) -m venv .venv/docs
	.venv/docs/bin/python $(PIP) -r requirements-docs.txt
	@touch $@

.venv/audit.stamp: .venv/home requirements-audit.txt
	rm -rf .venv/audit
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python $(PIP) -r requirements-audit.txt
	@touch $@

# After changing a pin: everything that is installed and not pinned directly.
constraints: .venv/test.stamp
	python scripts/constraints.py > constraints.new && mv constraints.new constraints.txt

clean:
	rm -rf .venv .state mlflow.db* mlartifacts optuna.journal* site tracked.json

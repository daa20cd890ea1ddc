# Everything runs in .venv, which the first target that needs it creates from requirements.lock.
# Variables from the environment and from the command line reach every recipe: make passes on both.

PYTHON ?= python3
UV_VERSION := 0.13.8
DUCKDB_15 := duckdb==1.5.5

# A PYTHON set by the caller is used or refused; the default may fall back to another name in range.
ifeq ($(origin PYTHON),file)
pythons := python3 python3.13 python3.12 python3.11
else
pythons := "$(PYTHON)"
endif
in_range := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# Debian's python3 has venv without ensurepip until python3-venv is installed.
has_venv := import ensurepip; import venv
first_python = $(shell for python in $(pythons); do \
	if "$$python" -c '$(1)' 2>/dev/null; then echo "$$python"; break; fi; done)
python = $(or $(call first_python,$(has_venv); $(in_range)),$(if $(call first_python,$(in_range)),\
	$(error $(call first_python,$(in_range)) lacks the venv module: install it (Debian: python3-venv)),\
	$(error Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is \
	$(or $(shell "$(PYTHON)" --version 2>/dev/null),not there): try make PYTHON=/path/to/python)))

pip := -m pip --disable-pip-version-check --quiet --quiet install
# The first set-up takes a minute: pip prints a line per package, of which a dot each is shown.
pip_with_dots = { .venv/bin/python -m pip --disable-pip-version-check install $(1) 2>.venv/pip.log \
	|| { cat .venv/pip.log >&2; echo failed; }; } | awk '/^ *Collecting/ { printf "."; fflush() } \
	/^Installing/ { printf " installing"; fflush() } /^failed$$/ { failed = 1 } END { print ""; exit failed }'
compile := .venv-lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-strip-extras --no-header --no-annotate --quiet
# The tests of a file share a process, and what is slow to start, such as a server.
pytest := -m pytest --dist loadfile --no-loadscope-reorder
# Tests wait for servers meanwhile, the long ones most of the time.
workers = $$(($$(getconf _NPROCESSORS_ONLN) + 1))
waiting = $$(($$(getconf _NPROCESSORS_ONLN) * 2))
# How many times as many examples, histories, loads and kills are tried as a test says.
scale = TEST_SCALE="$(or $(SCALE),$(1))"
# A benchmark reports through benchmarks/measure.py; its neighbours are what it starts or imports.
benchmarks = $(basename $(notdir $(shell grep -l '^from measure import' benchmarks/*/*.py)))
dlt = $(if $(filter object_landing postgres_warehouse small_files,$(or $(NAME),$(benchmarks))),.venv-dlt/.installed)
weed = $(if $(filter object_landing,$(or $(NAME),$(benchmarks))),.venv/.scale-installed)
# Hides Dagster's warnings about the two commands that are used here.
dagster := PYTHONWARNINGS='ignore:Function `dev_command`,ignore:Function `definitions_validate' \
	.venv/bin/dagster

# Dagster prefers .env to the environment: if both set a variable, the environment's value is lost.
lost = $(strip $(foreach name,$(shell sed -n 's/^\([A-Z_]*\)=.*/\1/p' .env 2>/dev/null),\
	$(if $(filter-out undefined,$(origin $(name))),$(shell \
		grep -qxF "$(name)=$($(name))" .env || echo $(name)))))

# A virtual environment contains absolute paths, also to src: once the folder has moved, it is void.
$(shell for stamp in .venv/.installed .venv-*/.installed; do \
	grep -sqxF "$(CURDIR)" "$$stamp" || rm -f "$$stamp"; done)

.DEFAULT_GOAL := help
.PHONY: help run dev test test-long test-duckdb15 test-scale test-ducklake check docs bench compare screenshots clean lock

help: ## Print this page
	@echo 'Targets (make TARGET):'
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1 /p' Makefile | while read -r target text; do \
		printf '  %-14s %s\n' "$$target" "$$text"; done
	@echo
	@echo 'Variables, each as "make run NAME=value", "NAME=value make run" or a line in .env:'
	@echo '  LANDING_DIR      directory of landed files, default data/source'
	@echo '  DUCKDB_DATABASE  database file, default data/staging/partitioned_etl.duckdb'
	@echo '  DAGSTER_HOME     absolute path of an existing folder with a dagster.yaml, for a Dagster'
	@echo '                   instance of your own; default: the dagster.yaml of this folder'
	@echo 'The first two may be relative to this folder. All settings are in .env.example.'
	@echo 'PYTHON=/path/to/python chooses the Python that .venv is made with; ARGS="..." adds arguments'
	@echo 'to dev, compare, lock and the tests.'

run: .venv/.installed ## Load every landed file that changed, once; fail if a file was refused
	@.venv/bin/partitioned-etl sync

dev: .venv/.installed ## Start Dagster: web UI, sensors, schedules; Ctrl-C stops it
	$(if $(lost),$(error $(lost): .env says otherwise, and Dagster prefers .env: change it there))
	@echo 'After a change in defs/, press "Reload definitions" on page Lineage of the web UI.'
	@echo 'The history is kept in .dagster, whatever Dagster says of a temporary directory.'
	@$(dagster) dev -h 127.0.0.1 $(ARGS)

test: .venv/.installed ## Run the tests; ARGS="-k journey" chooses among them
	@.venv/bin/python $(pytest) -n $(workers) -m "not long and not scale" $(ARGS)

test-long: .venv/.installed ## Run what takes long: browser, daemons, wheel, and SCALE=20 times as many cases
	@$(call scale,20) .venv/bin/python $(pytest) -n $(waiting) -m "(scaled or long) and not scale" $(ARGS)

test-duckdb15: .duckdb-1.5/duckdb ## Run the tests with DuckDB 1.5
	@PYTHONPATH="$(CURDIR)/.duckdb-1.5" .venv/bin/python $(pytest) -n $(workers) -m "not long and not scale" $(ARGS)

test-scale: .venv/.scale-installed ## Run what needs object storage, PostgreSQL and Redis, which it starts itself
	@$(call scale,0.5) .venv/bin/python $(pytest) -n $(workers) -m scale $(ARGS)

test-ducklake: .duckdb-ducklake/duckdb .venv/.scale-installed ## Run what needs DuckLake, on DuckDB 1.5
	@PYTHONPATH="$(CURDIR)/.duckdb-ducklake" .venv/bin/python $(pytest) -n $(workers) -m scale \
		tests/scale/test_every_bench.py tests/scale/test_readers.py tests/scale/test_ducklake.py $(ARGS)

check: .venv/.installed ## Check format, lint, types and definitions
	@.venv/bin/ruff format --check --quiet
	@.venv/bin/ruff check --quiet
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 .venv/bin/pyright
	@$(dagster) definitions validate --log-level warning
	@VIRTUAL_ENV="$(CURDIR)/.venv" .venv/bin/dg check defs

docs: .venv/.installed ## Write anew what pages say of attributes, formats and settings
	@.venv/bin/python docs/generate.py

bench: .venv/.installed $(dlt) $(weed) ## Benchmark against DuckDB alone, and dlt; NAME=large_file chooses one benchmark
	@failed=; for name in $(or $(NAME),$(benchmarks)); do \
		PYTHONPATH="$(CURDIR)/benchmarks:$(CURDIR)/tests" .venv/bin/python benchmarks/*/"$$name".py \
			|| failed=1; echo; done; test -z "$$failed"

compare: .venv/.installed .venv-dlt/.installed ## Compare with a tutorial's project and dlt
	@.venv/bin/python benchmarks/against/compare.py $(ARGS)

screenshots: .venv/.installed ## Retake the screenshots in docs/images; needs Chromium
	@PYTHONPATH=tests .venv/bin/python -m support.take_screenshots

lock: ## Regenerate the lock files; ARGS=--upgrade takes newer versions
	@"$(python)" -m venv .venv-lock
	@.venv-lock/bin/python $(pip) uv==$(UV_VERSION)
	@$(compile) pyproject.toml --all-extras --group dev --output-file requirements.lock $(ARGS)
	@$(compile) pyproject.toml --all-extras --group image \
		--constraint requirements.lock --output-file deploy/image.lock $(ARGS)
	@$(compile) --group scale --constraint requirements.lock \
		--output-file tests/scale/scale.lock $(ARGS)
	@$(compile) --group ducklake --output-file tests/scale/ducklake.lock $(ARGS)
	@$(compile) benchmarks/against/dlt.requirements --output-file benchmarks/against/dlt.lock $(ARGS)
	@rm -rf .venv-lock

clean: ## Remove environments, caches, storage, database and generated files; landed files stay
	@rm -rf .venv .venv-* .duckdb-* .dagster .tmp_dagster_home_* .hypothesis .pytest_cache .ruff_cache
	@rm -rf build dist data/staging/*.duckdb* data/archive data/reports
	@rm -rf data/fetched/.sources data/fetched/podcast_episodes
	@find src tests docs benchmarks -name __pycache__ -prune -exec rm -rf {} +

# dlt needs DuckDB 1.5, so it has its own environment.
.venv-dlt/.installed: benchmarks/against/dlt.lock
	@echo 'Making .venv-dlt from $<'
	@"$(python)" -m venv --clear .venv-dlt
	@.venv-dlt/bin/python $(pip) --require-hashes --requirement $<
	@echo "$(CURDIR)" > $@

# The stamp comes last: an environment without one is incomplete or has moved, and is recreated.
.venv/.installed: requirements.lock pyproject.toml
	@echo 'Making .venv from $<'
	@"$(python)" -m venv $$(test -f $@ || echo --clear) .venv
	@$(call pip_with_dots,--require-hashes --requirement $<)
	@.venv/bin/python $(pip) --no-deps --no-build-isolation --editable .
	@echo "$(CURDIR)" > $@

# What the tests of object storage and of many machines start, which nothing else needs.
.venv/.scale-installed: tests/scale/scale.lock .venv/.installed
	@.venv/bin/python $(pip) --require-hashes --requirement $<
	@touch $@

# A folder with only the older DuckDB, which takes precedence over the one in .venv.
.duckdb-1.5/duckdb: .venv/.installed
	@rm -rf .duckdb-1.5
	@.venv/bin/python $(pip) --no-deps --target .duckdb-1.5 $(DUCKDB_15)
	@touch $@

# The same with the extensions of DuckLake.
.duckdb-ducklake/duckdb: tests/scale/ducklake.lock .venv/.installed
	@rm -rf .duckdb-ducklake
	@.venv/bin/python $(pip) --no-deps --target .duckdb-ducklake --require-hashes --requirement $<
	@touch $@

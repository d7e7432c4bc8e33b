# Everything that a newcomer or a build machine needs; each target does all of its own set-up and is quick the second time.
# Extra arguments: make test ARGS="tests/unit -k ranges", make demo ARGS="--port 9000".

.DEFAULT_GOAL := help
.PHONY: help install demo test lint bench bench-quick soak image sbom lock clean

PYTHON := .venv/bin/python
ARGS :=
ENGINE := docker
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' gateway/__init__.py)

# Images set this to stay small. Here it would have every process compile everything again, and tests start many processes.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do printf '  make %-12s %s\n' "$$name" "$$what"; done

install: ## Make .venv and install the gateway for development
	@deploy/scripts/make-venv dev

demo: ## Serve the sample archive on http://127.0.0.1:8080
	@deploy/scripts/make-venv runtime
	@exec $(PYTHON) -m gateway demo $(ARGS)

test: install ## Run the whole suite with real servers, which it installs if it may
	@deploy/scripts/install-servers
	@$(PYTHON) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: install ## Check style and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

bench: install ## Measure beside what else would serve the archive and rewrite docs/benchmarks.md (half an hour, quiet machine)
	@deploy/scripts/install-servers nginx varnishd redis-server wrk cc smbd smbclient rclone
	@$(PYTHON) -m benchmarks.run --write $(ARGS)

bench-quick: install ## The same in four minutes: smaller files, fewer rounds, nothing written
	@deploy/scripts/install-servers nginx varnishd redis-server wrk cc smbd smbclient rclone
	@$(PYTHON) -m benchmarks.run --quick $(ARGS)

soak: install ## The long runs, one after the other
	@deploy/scripts/install-servers
	@deploy/scripts/install-servers wrk
	@for script in benchmarks/soak_*.py; do \
		name=$$(basename "$$script" .py); \
		echo "== $$name"; $(PYTHON) -m "benchmarks.$$name" $(ARGS) || exit 1; \
	done

image: ## Build the image (ENGINE=podman without docker; ARGS are build options)
	@$(ENGINE) build --tag fhir-document-gateway:$(VERSION) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git describe --always --dirty --abbrev=40 2>/dev/null || echo unknown) $(ARGS) .

sbom: install ## Write build/sbom.cdx.json: what the image holds, with licences
	@deploy/scripts/sbom

lock: ## Write deploy/image/*.txt anew: the releases that the image is made of (ARGS=--upgrade for newer ones)
	@deploy/scripts/lock $(ARGS)

clean: ## Remove what the other targets made
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

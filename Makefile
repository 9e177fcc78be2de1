# Everything a newcomer types. Each target installs what it needs first and says so (scripts/setup).
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long test-lio test-install deb lint bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is needed (Debian packages, .venv)
	@scripts/setup

demo: setup ## a real cluster on this machine; a node is killed; watch (ARGS=--once ends by itself)
	@.venv/bin/holdfast demo $(ARGS)

test: setup ## every check: lint, unit, simulation, nodes, lab, machines, contract, browser (ARGS="unit lab" picks stages)
	@scripts/test $(ARGS)

test-long: setup ## what takes too long for every change: S3 and backup gateways under more faults; root, minutes
	@scripts/test long $(ARGS)

test-install: setup ## docs/install.md followed on three machines with systemd, then an upgrade under load; root, minutes
	@.venv/bin/python tests/install guide $(ARGS)
	@.venv/bin/python tests/install upgrade $(ARGS)

test-lio: setup ## the kernel's iSCSI target: storage nodes that are emulated machines, under faults; root, a quarter of an hour
	@.venv/bin/python tests/lio $(ARGS)

deb: setup ## the Debian package of this checkout, into dist/
	@packaging/build-deb $(ARGS)

lint: setup ## style, types and the direction of imports only
	@scripts/lint

bench: setup ## measure fail-over times on this machine
	@.venv/bin/python bench/failover.py $(ARGS)

clean: ## remove .venv and everything the tools left behind
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

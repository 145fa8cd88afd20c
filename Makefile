# The words of this project; `make help` explains them.

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo test prove check golden pictures bounds bench bench-quick descriptors

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'
	@echo
	@echo "  ARGS=... is handed on: make test ARGS=tests/model, make bench-quick ARGS='--only sidecars';"
	@echo "  JOBS=2 tests in two processes, where four are too many."

demo: $(VENV)/installed ## The bistro in a mesh, with a guided tour, until Ctrl-C; CHECK=1 walks the tour itself
	@$(BIN)/python examples/tour/demo.py $(if $(CHECK),--check) $(if $(MODE),--mode $(MODE))

test: $(VENV)/developing ## Every test but the long proofs
	@$(BIN)/pytest -m "not prove" -n $(JOBS) --dist loadfile $(ARGS)

prove: $(VENV)/developing ## The long proofs, or those in the files of ARGS; writes their figures to docs/proofs.md
	@$(BIN)/pytest -m prove -n 0 -o junit_family=xunit1 --junitxml=$(VENV)/proofs.xml $(ARGS); status=$$?; \
	$(BIN)/python tools/proofs.py $(VENV)/proofs.xml docs/proofs.md && exit $$status

check: $(VENV)/developing ## Format, lint, types, and who may import whom
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

golden: $(VENV)/developing ## Write the golden files anew; read the difference before you commit it
	@PLAIT_GOLDEN=write $(BIN)/pytest -m "not prove" tests/envoy/test_golden.py tests/dialects/test_golden.py tests/fields/test_table.py tests/rollout/test_states.py $(ARGS)

pictures: $(VENV)/developing ## Take the pictures of the dashboard anew; look at them before you commit
	@$(BIN)/pytest -n 0 tests/dashboard/pictures.py $(ARGS)

bounds: $(VENV)/developing ## Record what things cost now as what they may cost; say why in the commit
	@$(BIN)/python -m tests.cost.record

bench: $(VENV)/measuring ## What the mesh costs, beside others; writes bench/RESULTS.md and takes its time
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/measuring ## The same in three minutes, to the terminal and bench/quick
	@$(BIN)/python -m bench --quick $(ARGS)

descriptors: $(VENV)/developing ## Read Envoy's message classes anew out of the pinned Envoy
	@$(BIN)/python tools/envoy_descriptors.py

$(VENV)/installed: pyproject.toml tools/prepare
	@tools/prepare $(VENV)
	@touch $@

$(VENV)/developing: pyproject.toml tools/prepare
	@tools/prepare $(VENV) dev
	@touch $(VENV)/installed $@

$(VENV)/measuring: pyproject.toml tools/prepare
	@tools/prepare $(VENV) dev bench
	@touch $(VENV)/installed $(VENV)/developing $@

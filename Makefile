# Two commands do everything: `make run` and `make test`.

PYTHON ?= python3
SAMPLE_PATIENTS ?= 12
# One more than there are cores on a small machine: many tests wait for the processes of a node.
TEST_PROCESSES ?= 3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The processes of a node import the same modules: those that start later find them compiled, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run viewer test check slow statement clean

run: $(INSTALLED)  ## the node with embedded defaults and, on its first start, phantom cases; it prints what to type next
	@$(BIN)/lookalike serve --samples $(SAMPLE_PATIENTS)

viewer: $(INSTALLED)  ## Orthanc, a node and OHIF with phantom studies; it prints the address
	@deploy/ohif/demo.sh

test: $(INSTALLED) check  ## format, lint, import rules, types, and the quick tests
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder -m "not slow and not gpu"

slow: $(INSTALLED)  ## the tests that take minutes
	$(BIN)/pytest -m slow

check: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy

# uv reads other variables than pip for folders of wheels; where pip has one, uv gets it too.
$(INSTALLED): pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
		test -x $(BIN)/python || uv venv --python "$$(command -v $(PYTHON))" $(VENV); \
		$${PIP_FIND_LINKS:+env UV_FIND_LINKS="$$PIP_FIND_LINKS"} \
			uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
		test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
			|| { echo "no venv module: apt-get install python3-venv" >&2; exit 1; }; \
		$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

statement: $(INSTALLED)  ## docs/conformance.md, from the tables of the code and node/conformance/template.md
	$(BIN)/lookalike conformance --defaults > docs/conformance.md

clean:
	rm -rf $(VENV) build dist

# Everything starts here. A fresh machine needs Python 3.11 to 3.13 and make, nothing else.
PYTHON ?=
# Extra arguments for pytest: make test ARGS="tests/store -x"
ARGS ?=

.PHONY: help install run test soak bench bench-events bench-load check lock reset clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

install: .venv/.installed  ## make .venv from requirements.lock (again only if that changed)

.venv/.installed: requirements.lock pyproject.toml .ci/uv.lock
	@.ci/install $(PYTHON)

run: .venv/.installed  ## start everything at http://127.0.0.1:8080 (RETENTION_PORT); Ctrl-C stops it
	@exec .venv/bin/retention up

test: .venv/.installed  ## every test, short seeds: about twenty minutes on two cores
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# The long versions of tests that draw at random: many worlds, random kills, long replays. Each such test reads how
# much it does from its marker: `soak` ones run here alone, the rest of the suite does not run again.
soak: .venv/.installed  ## the long versions: random kills, many worlds, long replays (an hour or more)
	@.venv/bin/python -m pytest -m soak --durations=0 -rA $(ARGS)

bench: .venv/.installed  ## what deliveries cost: a million e-mails beside the tutorials' loop and the raw limits (15 minutes)
	@.venv/bin/retention bench --customers 1000000 $(ARGS)

bench-load: .venv/.installed  ## how long loads take beside a bare COPY of the same files (three minutes, 5 GB of disk)
	@.venv/bin/python benchmarks/load.py $(ARGS)

bench-events: .venv/.installed  ## what comes back, beside COPY, on one core (a minute)
	@.venv/bin/python benchmarks/events.py $(ARGS)

check: .venv/.installed  ## read all journeys, templates, audiences and mappings; print every mistake
	@.venv/bin/retention check

lock: .venv/.installed  ## write requirements.lock anew from pyproject.toml
	@.venv/bin/uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --no-emit-find-links \
		--universal --python-version 3.11 -q -o requirements.lock

reset: .venv/.installed  ## throw away all local data (asks first)
	@.venv/bin/python -m retention.orchestration.local_reset

clean:  ## remove .venv and caches; the data stays
	rm -rf .venv .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

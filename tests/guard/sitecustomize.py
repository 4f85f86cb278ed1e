"""Python runs this before anything else where this folder is on PYTHONPATH: every process that a test starts is guarded."""

import importlib.machinery
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

try:
    import loopback_guard

    loopback_guard.install()
except BaseException:  # noqa: BLE001
    # Python would go on without it.
    import traceback

    traceback.print_exc()
    os._exit(70)

# This folder stands before another's sitecustomize: run that too.
_others = [place for place in sys.path if os.path.abspath(place) != HERE]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))

"""Whether Airflow itself pins the shape of runs: it does where DAG files come through a bundle with versions, like git."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from airflow.configuration import conf
from airflow.dag_processing.bundles.base import get_bundle_base_folder


def keeps_runs_on_their_commit(include: Path) -> bool:
    """True where a run finishes on the commit it began on, so that a newer file may drop a step it still needs.

    False for the plain local folder: there Airflow takes the shape of every run from the file as it is now.
    """
    if conf.getboolean("dag_processor", "disable_bundle_versioning"):
        return False
    for bundle in conf.getjson("dag_processor", "dag_bundle_config_list") or []:
        if include.is_relative_to(get_bundle_base_folder(bundle["name"]).resolve()):
            return _find_class(bundle["classpath"]).supports_versioning
    return False


def _find_class(path: str) -> type:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)

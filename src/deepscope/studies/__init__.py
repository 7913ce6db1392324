"""The atlas: one file per claim, ``<topic>/<claim>.py``, found by listing the folders."""

from deepscope.studies._catalog import Heading, catalog, load_file, load_study, study_id

__all__ = ["Heading", "catalog", "load_file", "load_study", "study_id"]

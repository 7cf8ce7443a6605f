"""The verbs of an export, one file each; `export.py` tells the story. No Dagster here, and no web."""

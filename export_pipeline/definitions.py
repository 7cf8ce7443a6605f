"""Dagster's door: exposes what `orchestration` builds, nothing else."""

from export_pipeline.orchestration.build import build_definitions

defs = build_definitions()

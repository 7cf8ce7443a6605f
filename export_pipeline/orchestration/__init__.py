"""Dagster's view of the flow: assets, jobs, schedules, sensors, resources. Each body is one call into `flow`."""

"""Exports of campaign data from PostgreSQL, orchestrated by Dagster."""

__version__ = "0.1.0"

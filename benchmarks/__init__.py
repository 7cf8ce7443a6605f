"""Measures what the project promises about speed and memory: `make bench`. Nothing here is part of the package."""

"""The words of the project: frozen types and closed sets. No I/O, and nothing of ours is imported here."""

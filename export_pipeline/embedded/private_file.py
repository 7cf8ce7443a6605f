"""Files that hold keys: only their owner may read them, and whoever reads one never sees half of it."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Writes the file whole, or replaces it whole."""
    staged = path.with_name(f"{path.name}.part")
    with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    staged.replace(path)

"""How many rows a second each policy masks, with what redaction costs where there is nothing to find:
`python -m benchmarks.masks`. Nothing is compared, so it is no measure of `make bench`.
"""

import argparse
import json
import statistics
import time

import polars as pl

from export_pipeline.flow.mask import derive_key, mask_values
from export_pipeline.model.access import Policy
from export_pipeline.model.dataset import JSON, TEXT, Column, Type
from export_pipeline.model.masking import Mask

_CLEAN = "Agent: Good morning, am I speaking with {0}? Contact: Yes. We have a term deposit at 3.5 % for 12 months"
_DIRTY = "call me at +1 555 010 {0:04} or zoe{0}@example.com, please, card 4111 1111 1111 1111"


def main() -> None:
    """Prints one line for each policy and kind of value."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.masks", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    clean = pl.Series("text", [_CLEAN.format(n) for n in range(arguments.rows)])
    dirty = pl.Series("text", [_DIRTY.format(n) for n in range(arguments.rows)])
    phones = pl.Series("text", [f"+1555{n:07}" for n in range(arguments.rows)])
    for title, values, kind, policy in (
        ("redact, nothing to find", clean, TEXT, Policy.REDACT),
        ("redact, three in each", dirty, TEXT, Policy.REDACT),
        ("redact JSON, nothing to find", _documents(clean), JSON, Policy.REDACT),
        ("redact JSON, three twice in each", _documents(dirty), JSON, Policy.REDACT),
        ("mask", phones, TEXT, Policy.MASK),
        ("hash, all different", phones, TEXT, Policy.HASH),
        ("truncate", phones, TEXT, Policy.TRUNCATE),
    ):
        print(f"{title:34} {_rate(values, kind, policy, arguments.repeat):12,.0f} rows/s")


def _documents(texts: pl.Series) -> pl.Series:
    return pl.Series("text", [json.dumps({"text": text, "turns": [{"who": "A", "text": text}]}) for text in texts])


def _rate(values: pl.Series, kind: Type, policy: Policy, repeat: int) -> float:
    mask = Mask(Column("text", kind, "", ""), policy, "", length=3, key=derive_key("k" * 32, ""))
    seconds = []
    for _ in range(repeat):
        begun = time.perf_counter()
        mask_values(values, mask)
        seconds.append(time.perf_counter() - begun)
    return len(values) / statistics.median(seconds)


if __name__ == "__main__":
    main()

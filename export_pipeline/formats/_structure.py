"""The structure of JSON values, as DuckDB writes it, such as `{"a": ["UBIGINT"]}` of `{"a": [1, 2]}`. It is found batch
by batch, as DuckDB keeps every value in memory of which it looks for a common structure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from export_pipeline.formats._nested_values import JSON_TEXT

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: DuckDB's name of the structure of nulls alone.
NOTHING = "NULL"
#: The most keys of a part, with those of the parts within it: objects used as maps may have a key for each row, and
#: each would be a column.
_MOST_KEYS = 250
_NUMBERS = {"UBIGINT", "BIGINT", "HUGEINT", "DOUBLE"}


def structure_of(connection: duckdb.DuckDBPyConnection, batches: Iterable[pa.RecordBatch]) -> Any:
    """The common structure of the only column's values: `json_group_structure` of all, but that a part with more than
    250 keys is JSON text, and an object without any is `{}`. Raises duckdb.Error for what DuckDB does not read."""
    found: Any = NOTHING
    for batch in batches:
        connection.register("batch", batch.rename_columns(["value"]))
        found, _ = _limited(_merged(found, _of_batch(connection)))
    return found


def _of_batch(connection: duckdb.DuckDBPyConnection) -> Any:
    def grouped(example: str | None) -> Any:
        # After the batch, as the keys are in the order in which they come.
        query = "SELECT json_group_structure(value::JSON) FROM (FROM batch UNION ALL SELECT $1)"
        [[found]] = connection.execute(query, [example]).fetchall()
        return json.loads(found)

    found = grouped(None)
    example = _example(found)
    return found if example is None else _without_empty(found, grouped(json.dumps(example)))


def _example(shape: Any) -> Any:
    """A value that has an object with a key wherever the structure has JSON; None where that is nowhere."""
    if isinstance(shape, list):
        item = _example(shape[0])
        return None if item is None else [item]
    if isinstance(shape, dict):
        return {key: item for key, part in shape.items() if (item := _example(part)) is not None} or None
    return {"key": None} if shape == JSON_TEXT else None


def _without_empty(shape: Any, with_example: Any) -> Any:
    """The structure, with `{}` where DuckDB says JSON of objects without keys, as it also does of several types: these
    still are several with the example."""
    if isinstance(shape, list):
        return [_without_empty(shape[0], with_example[0])]
    if isinstance(shape, dict):
        return {key: _without_empty(part, with_example[key]) for key, part in shape.items()}
    return {} if shape == JSON_TEXT != with_example else shape


def _merged(shape: Any, other: Any) -> Any:
    """The structure of what has the one and what has the other, as DuckDB merges them."""
    if other in (shape, NOTHING):
        return shape
    if shape == NOTHING:
        return other
    if isinstance(shape, list) and isinstance(other, list):
        return [_merged(shape[0], other[0])]
    if isinstance(shape, dict) and isinstance(other, dict):
        return shape | {key: _merged(shape.get(key, NOTHING), part) for key, part in other.items()}
    if isinstance(shape, str) and isinstance(other, str) and {shape, other} <= _NUMBERS:
        return "DOUBLE" if "DOUBLE" in (shape, other) else "HUGEINT"
    return JSON_TEXT


def _limited(shape: Any) -> tuple[Any, int]:
    """The structure, with JSON text for each part that has too many keys, and how many it has."""
    if isinstance(shape, list):
        item, keys = _limited(shape[0])
        return [item], keys
    if not isinstance(shape, dict):
        return shape, 0
    parts = {key: _limited(part) for key, part in shape.items()}
    keys = len(parts) + sum(inner for _, inner in parts.values())
    return ({key: part for key, (part, _) in parts.items()}, keys) if keys <= _MOST_KEYS else (JSON_TEXT, 0)

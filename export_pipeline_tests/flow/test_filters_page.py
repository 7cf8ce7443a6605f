"""The examples of docs/filters.md are requests that work on the sample, and its table lists every operator."""

import re
import shlex
from pathlib import Path

import pytest

from export_pipeline.cli.exports import export
from export_pipeline.cli.request_options import fields_of
from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import open_source
from export_pipeline.flow.order import closed, make_order
from export_pipeline.flow.request import authorize_order
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.condition import Operator
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.datasets.reading import ADMIN

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text(encoding="utf-8")
EXAMPLES = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]


def request_of(engine: Engine, line: str) -> ExportRequest:
    """The request that the command line would file."""
    program, command, *arguments = shlex.split(line)
    assert (program, command) == ("export-pipeline", "export")
    given = export.make_context("export", [*arguments, "--as", ADMIN], resilient_parsing=False).params
    dataset = given["dataset"]
    return ExportRequest(dataset=dataset, requested_by=ADMIN, **fields_of(given, engine.datasets.get(dataset)))


@pytest.mark.parametrize("line", EXAMPLES)
def test_example_when_run_on_the_sample_then_finds_rows(sample_engine: Engine, line: str) -> None:
    admin = Principal(sample_id("user", ADMIN), ADMIN, "admin", Role.ADMIN)
    order, _ = authorize_order(sample_engine, admin, make_order(sample_engine, request_of(sample_engine, line)))
    order = closed(order)
    with open_source(sample_engine, order.plans, Attempt("read", 1)) as opened:
        for plan in opened.plans:
            with opened.read(plan) as rows:
                assert next(rows.batches).height > 0


def test_page_when_read_then_lists_every_operator() -> None:
    table = re.search(r"^\| operator .*?\n\n", PAGE, re.M | re.S)
    assert table is not None
    assert set(re.findall(r"`([a-z_]+)`", table[0])) >= set(Operator)
    assert len(EXAMPLES) >= 8

"""Waiting for what is due."""

import time
from datetime import UTC, datetime, timedelta
from threading import Timer

import psycopg

from export_pipeline_tests.ledger.ledger_fixtures import Ledger, request


def test_wait_for_due_when_something_waits_already_then_at_once(ledger: Ledger) -> None:
    job = ledger.file()
    started = time.monotonic()
    assert [found.id for found in ledger.jobs.wait_for_due(5)] == [job.id]
    assert time.monotonic() - started < 1


def test_wait_for_due_when_nothing_comes_then_nothing_in_time(ledger: Ledger) -> None:
    started = time.monotonic()
    assert ledger.jobs.wait_for_due(0.5) == []
    assert 0.4 < time.monotonic() - started < 2


def test_wait_for_due_when_a_request_is_filed_meanwhile_then_it_wakes(ledger: Ledger) -> None:
    timer = Timer(0.5, ledger.file)
    timer.start()
    started = time.monotonic()
    assert len(ledger.jobs.wait_for_due(5)) == 1
    assert time.monotonic() - started < 2
    timer.join()


def test_wait_for_due_when_a_request_comes_due_meanwhile_then_it_wakes(ledger: Ledger) -> None:
    ledger.file(request(not_before=datetime.now(UTC) + timedelta(seconds=0.7)))
    started = time.monotonic()
    assert len(ledger.jobs.wait_for_due(5)) == 1
    assert 0.4 < time.monotonic() - started < 2


def test_file_when_claimed_at_once_then_nobody_is_woken(ledger: Ledger) -> None:
    with psycopg.connect(ledger.url, autocommit=True) as connection:
        connection.execute("LISTEN export_requests")
        ledger.file(claim_as="run")
        waiting = ledger.file()
        heard = [note.payload for note in connection.notifies(timeout=2, stop_after=1)]
    assert heard == [waiting.id]


def test_wait_for_due_when_its_connection_is_cut_then_it_finds_what_comes_later(ledger: Ledger) -> None:
    def cut_and_file() -> None:
        with psycopg.connect(ledger.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ledger.file()

    timer = Timer(0.5, cut_and_file)
    timer.start()
    try:
        assert len(ledger.jobs.wait_for_due(4)) == 1
    finally:
        timer.join()

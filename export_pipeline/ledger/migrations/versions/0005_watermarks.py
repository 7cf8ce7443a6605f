"""How far the exports of a series have come, each being only what is new or changed since the one before."""

from alembic import op

revision = "0005"
down_revision = "0004"

_UP = """
ALTER TABLE exports.export_jobs
    DROP CONSTRAINT export_jobs_since_check,
    ADD CONSTRAINT export_jobs_since_check CHECK (since IN ('', 'last', 'start'));

CREATE TABLE exports.watermarks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    export_id   uuid NOT NULL UNIQUE REFERENCES exports.export_jobs (id),
    attempt     integer NOT NULL,
    series      text NOT NULL CHECK (series ~ '^[0-9a-f]{64}$'),
    previous    uuid REFERENCES exports.watermarks (export_id),
    database    text,
    up_to       bigint CHECK (up_to >= 3),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE exports.watermarks IS 'In force once its export is completed: in the same transaction, by its status.';
COMMENT ON COLUMN exports.watermarks.series IS 'SHA-256 of what is asked for and by whom.';
COMMENT ON COLUMN exports.watermarks.database IS 'Which source: system identifier, timeline and database.';
COMMENT ON COLUMN exports.watermarks.up_to IS 'All rows of older transactions have been delivered (64 bits).';
CREATE UNIQUE INDEX watermarks_follow ON exports.watermarks
    (series, coalesce(previous, '00000000-0000-0000-0000-000000000000'));
"""

_DOWN = """
DROP TABLE exports.watermarks;
ALTER TABLE exports.export_jobs DISABLE TRIGGER USER;
UPDATE exports.export_jobs SET since = 'last' WHERE since = 'start';
ALTER TABLE exports.export_jobs ENABLE TRIGGER USER;
ALTER TABLE exports.export_jobs
    DROP CONSTRAINT export_jobs_since_check,
    ADD CONSTRAINT export_jobs_since_check CHECK (since IN ('', 'last'));
"""


def upgrade() -> None:
    """Adds the table, and `start` to what may be asked for."""
    op.get_bind().exec_driver_sql(_UP)


def downgrade() -> None:
    """Takes both away."""
    op.get_bind().exec_driver_sql(_DOWN)

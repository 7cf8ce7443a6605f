"""The first schema: export jobs with their table of transitions, the append-only audit log, leftovers."""

from alembic import op

revision = "0001"
down_revision = None

_UP = """
CREATE TABLE exports.export_jobs (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    dataset             text NOT NULL,
    filters             jsonb NOT NULL DEFAULT '{}',
    columns             text[] NOT NULL DEFAULT '{}',
    format              text NOT NULL,
    options             jsonb NOT NULL DEFAULT '{}',
    destination         text NOT NULL,
    recurring           boolean NOT NULL DEFAULT false,
    requested_by        text NOT NULL,
    requester_id        text NOT NULL,
    owner_id            text,
    not_before          timestamptz,
    status              text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled', 'expired')),
    attempt             integer NOT NULL DEFAULT 1 CHECK (attempt > 0),
    phase               text CHECK (phase IN ('planning', 'writing', 'verifying', 'publishing')),
    rows_done           bigint NOT NULL DEFAULT 0 CHECK (rows_done >= 0),
    rows_estimated      bigint,
    bytes               bigint,
    files               jsonb NOT NULL DEFAULT '[]',
    snapshot_at         timestamptz,
    heartbeat_at        timestamptz,
    cancel_requested_at timestamptz,
    cancel_requested_by text,
    dagster_run_id      text,
    error               text,
    error_kind          text CHECK (
        error_kind IN ('invalid', 'forbidden', 'not_found', 'transient', 'broken', 'cancelled')),
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at          timestamptz,
    completed_at        timestamptz,
    expires_at          timestamptz
);
COMMENT ON TABLE exports.export_jobs IS 'One row for each export, whichever door it came through.';
CREATE INDEX export_jobs_pending ON exports.export_jobs (coalesce(not_before, created_at)) WHERE status = 'pending';
CREATE INDEX export_jobs_processing ON exports.export_jobs (id) WHERE status = 'processing';
CREATE INDEX export_jobs_completed ON exports.export_jobs (expires_at) WHERE status = 'completed';
CREATE INDEX export_jobs_requester ON exports.export_jobs (requester_id, created_at DESC);
CREATE INDEX export_jobs_created ON exports.export_jobs (created_at DESC);
CREATE INDEX export_jobs_run ON exports.export_jobs (dagster_run_id) WHERE dagster_run_id IS NOT NULL;

CREATE FUNCTION exports.guard_export_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'pending' THEN
            RAISE EXCEPTION 'an export begins as pending, not as %', NEW.status USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.status <> OLD.status AND NOT (OLD.status, NEW.status) IN (
        ('pending', 'processing'), ('pending', 'cancelled'), ('pending', 'failed'),
        ('processing', 'completed'), ('processing', 'failed'), ('processing', 'cancelled'), ('processing', 'pending'),
        ('completed', 'expired'),
        ('failed', 'pending'), ('cancelled', 'pending')
    ) THEN
        RAISE EXCEPTION 'an export cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.status = 'pending' AND OLD.status <> 'pending') <> (NEW.attempt = OLD.attempt + 1)
        OR NEW.attempt NOT IN (OLD.attempt, OLD.attempt + 1)
    THEN
        RAISE EXCEPTION 'the attempt grows by one exactly when an export becomes pending again'
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status IN ('completed', 'expired') AND NEW.files <> OLD.files THEN
        RAISE EXCEPTION 'the files of a finished export cannot change' USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.id, NEW.dataset, NEW.filters, NEW.columns, NEW.format, NEW.options, NEW.destination, NEW.recurring,
        NEW.requester_id, NEW.requested_by, NEW.created_at)
        IS DISTINCT FROM
       (OLD.id, OLD.dataset, OLD.filters, OLD.columns, OLD.format, OLD.options, OLD.destination, OLD.recurring,
        OLD.requester_id, OLD.requested_by, OLD.created_at)
    THEN
        RAISE EXCEPTION 'what was asked for cannot change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON exports.export_jobs
    FOR EACH ROW EXECUTE FUNCTION exports.guard_export_job();

CREATE FUNCTION exports.announce_export_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Deferred, so that what is filed and claimed in one transaction wakes nobody.
    IF EXISTS (SELECT 1 FROM exports.export_jobs WHERE id = NEW.id AND status = 'pending') THEN
        PERFORM pg_notify('export_requests', NEW.id::text);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER announce AFTER INSERT OR UPDATE OF status ON exports.export_jobs
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'pending') EXECUTE FUNCTION exports.announce_export_job();

CREATE TABLE exports.audit_log (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor     text NOT NULL,
    action    text NOT NULL CHECK (
        action IN ('request', 'refusal', 'start', 'completion', 'failure', 'cancel', 'retry', 'link', 'expiry')),
    export_id uuid,
    dataset   text,
    reason    text NOT NULL DEFAULT '',
    detail    jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE exports.audit_log IS 'Who took out what, when and why. Rows are only ever added.';
CREATE INDEX audit_log_export ON exports.audit_log (export_id, id);
CREATE INDEX audit_log_at ON exports.audit_log (at);

CREATE FUNCTION exports.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON exports.audit_log
    FOR EACH ROW EXECUTE FUNCTION exports.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON exports.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION exports.refuse_change();

CREATE TABLE exports.leftovers (
    export_id   uuid NOT NULL REFERENCES exports.export_jobs (id),
    attempt     integer NOT NULL,
    destination text NOT NULL,
    prefix      text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (export_id, attempt)
);
COMMENT ON TABLE exports.leftovers IS
    'Attempts that may have left something at their destination, until it is known that they have not.';
"""

_DOWN = """
DROP TABLE exports.leftovers;
DROP TABLE exports.audit_log;
DROP TABLE exports.export_jobs;
DROP FUNCTION exports.guard_export_job();
DROP FUNCTION exports.announce_export_job();
DROP FUNCTION exports.refuse_change();
"""


def upgrade() -> None:
    """Creates the tables."""
    op.get_bind().exec_driver_sql(_UP)


def downgrade() -> None:
    """Drops them, with all they hold."""
    op.get_bind().exec_driver_sql(_DOWN)

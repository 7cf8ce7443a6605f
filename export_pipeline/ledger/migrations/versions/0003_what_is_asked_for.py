"""More of what can be asked for: conditions, order, masks, a reason, what is new; and whether an export was cut."""

from alembic import op

revision = "0003"
down_revision = "0002"

_UP = """
ALTER TABLE exports.export_jobs
    ADD conditions   text[] NOT NULL DEFAULT '{}',
    ADD sort         text[] NOT NULL DEFAULT '{}',
    ADD truncate     boolean NOT NULL DEFAULT false,
    ADD contact_info boolean NOT NULL DEFAULT true,
    ADD masks        jsonb NOT NULL DEFAULT '{}',
    ADD recipient    text NOT NULL DEFAULT '',
    ADD reason       text NOT NULL DEFAULT '',
    ADD since        text NOT NULL DEFAULT '' CHECK (since IN ('', 'last')),
    ADD template_id  uuid,
    ADD truncated    boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN exports.export_jobs.truncate IS 'Whether too many rows may be cut off instead of refused.';
COMMENT ON COLUMN exports.export_jobs.truncated IS 'Whether they were.';

CREATE FUNCTION exports.guard_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.conditions, NEW.sort, NEW.truncate, NEW.contact_info, NEW.masks, NEW.recipient, NEW.reason, NEW.since,
        NEW.template_id)
        IS DISTINCT FROM
       (OLD.conditions, OLD.sort, OLD.truncate, OLD.contact_info, OLD.masks, OLD.recipient, OLD.reason, OLD.since,
        OLD.template_id)
    THEN
        RAISE EXCEPTION 'what was asked for cannot change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_request BEFORE UPDATE ON exports.export_jobs
    FOR EACH ROW EXECUTE FUNCTION exports.guard_request();
"""

_DOWN = """
DROP TRIGGER guard_request ON exports.export_jobs;
DROP FUNCTION exports.guard_request();
ALTER TABLE exports.export_jobs DROP conditions, DROP sort, DROP truncate, DROP contact_info, DROP masks,
    DROP recipient, DROP reason, DROP since, DROP template_id, DROP truncated;
"""


def upgrade() -> None:
    """Adds the columns."""
    op.get_bind().exec_driver_sql(_UP)


def downgrade() -> None:
    """Drops them."""
    op.get_bind().exec_driver_sql(_DOWN)

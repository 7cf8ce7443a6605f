"""How much of an export's files was asked to be read back and compared, and what came of it."""

from alembic import op

revision = "0002"
down_revision = "0001"

_UP = """
ALTER TABLE exports.export_jobs
    ADD verify       text CHECK (verify IN ('full', 'sample', 'off')),
    ADD verification text CHECK (verification IN ('off', 'sampled', 'passed', 'failed'));
COMMENT ON COLUMN exports.export_jobs.verify IS 'How much is read back; NULL: what is usual for the format.';
COMMENT ON COLUMN exports.export_jobs.verification IS 'What reading back has proven; NULL: not yet known.';
UPDATE exports.export_jobs SET verification = 'off' WHERE status IN ('completed', 'expired');

CREATE FUNCTION exports.guard_verification() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.verify IS DISTINCT FROM OLD.verify THEN
        RAISE EXCEPTION 'what was asked for cannot change' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status IN ('completed', 'expired') AND NEW.verification IS DISTINCT FROM OLD.verification THEN
        RAISE EXCEPTION 'what was proven of a finished export cannot change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_verification BEFORE UPDATE ON exports.export_jobs
    FOR EACH ROW EXECUTE FUNCTION exports.guard_verification();
"""

_DOWN = """
DROP TRIGGER guard_verification ON exports.export_jobs;
DROP FUNCTION exports.guard_verification();
ALTER TABLE exports.export_jobs DROP verify, DROP verification;
"""


def upgrade() -> None:
    """Adds the columns."""
    op.get_bind().exec_driver_sql(_UP)


def downgrade() -> None:
    """Drops them."""
    op.get_bind().exec_driver_sql(_DOWN)

"""Templates of exports, and what is done to them in the audit log."""

from alembic import op

revision = "0004"
down_revision = "0003"

_UP = """
CREATE TABLE exports.templates (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text NOT NULL CHECK (name <> ''),
    owner_id    text NOT NULL,
    owner_email text NOT NULL,
    shared      text[] NOT NULL DEFAULT '{}',
    request     jsonb NOT NULL,
    version     integer NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (owner_id, name)
);
COMMENT ON TABLE exports.templates IS 'Exports that have a name and are asked for again.';
COMMENT ON COLUMN exports.templates.shared IS 'The roles that may see and run it, or everyone; none: its owner alone.';

ALTER TABLE exports.audit_log
    DROP CONSTRAINT audit_log_action_check,
    ADD CONSTRAINT audit_log_action_check CHECK (action IN (
        'request', 'refusal', 'start', 'completion', 'failure', 'cancel', 'retry', 'link', 'expiry',
        'template_create', 'template_edit', 'template_delete'));
"""

# What was recorded stays as it is: the older table of actions holds for what comes.
_DOWN = """
ALTER TABLE exports.audit_log
    DROP CONSTRAINT audit_log_action_check,
    ADD CONSTRAINT audit_log_action_check CHECK (action IN (
        'request', 'refusal', 'start', 'completion', 'failure', 'cancel', 'retry', 'link', 'expiry')) NOT VALID;
DROP TABLE exports.templates;
"""


def upgrade() -> None:
    """Creates the table."""
    op.get_bind().exec_driver_sql(_UP)


def downgrade() -> None:
    """Drops it, with all templates."""
    op.get_bind().exec_driver_sql(_DOWN)

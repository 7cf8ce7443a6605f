"""Previews, estimates and searches for people in the audit log, and what the history of exports is searched by."""

from alembic import op

revision = "0006"
down_revision = "0005"

_UP = """
ALTER TABLE exports.audit_log
    DROP CONSTRAINT audit_log_action_check,
    ADD CONSTRAINT audit_log_action_check CHECK (action IN (
        'request', 'refusal', 'start', 'completion', 'failure', 'cancel', 'retry', 'link', 'expiry',
        'template_create', 'template_edit', 'template_delete', 'preview', 'search', 'estimate'));
CREATE INDEX export_jobs_dataset ON exports.export_jobs (dataset, created_at DESC);
CREATE INDEX export_jobs_template ON exports.export_jobs (template_id, created_at DESC) WHERE template_id IS NOT NULL;
"""

# What was recorded stays as it is: the older table of actions holds for what comes.
_DOWN = """
DROP INDEX exports.export_jobs_template;
DROP INDEX exports.export_jobs_dataset;
ALTER TABLE exports.audit_log
    DROP CONSTRAINT audit_log_action_check,
    ADD CONSTRAINT audit_log_action_check CHECK (action IN (
        'request', 'refusal', 'start', 'completion', 'failure', 'cancel', 'retry', 'link', 'expiry',
        'template_create', 'template_edit', 'template_delete')) NOT VALID;
"""


def upgrade() -> None:
    """Allows the actions, and makes the indexes."""
    op.get_bind().exec_driver_sql(_UP)


def downgrade() -> None:
    """Takes both back."""
    op.get_bind().exec_driver_sql(_DOWN)

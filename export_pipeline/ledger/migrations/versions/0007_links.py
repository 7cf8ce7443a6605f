"""Links that go through our door: each use is counted and audited, and they can be revoked."""

from alembic import op

revision = "0007"
down_revision = "0006"

_UP = """
CREATE TABLE exports.links (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_sha256 bytea NOT NULL UNIQUE CHECK (octet_length(token_sha256) = 32),
    export_id    uuid NOT NULL REFERENCES exports.export_jobs (id),
    key          text NOT NULL,
    filename     text NOT NULL,
    issued_to    text NOT NULL,
    issued_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL,
    uses         integer NOT NULL DEFAULT 0 CHECK (uses >= 0),
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_by   text,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL)),
    CHECK ((last_used_at IS NULL) = (uses = 0))
);
COMMENT ON TABLE exports.links IS 'One row for each link to a file that goes through our door.';
COMMENT ON COLUMN exports.links.token_sha256 IS 'SHA-256 of the secret part of the address, which is not stored.';
CREATE INDEX links_export ON exports.links (export_id, id);

ALTER TABLE exports.audit_log
    DROP CONSTRAINT audit_log_action_check,
    ADD CONSTRAINT audit_log_action_check CHECK (action IN (
        'request', 'refusal', 'start', 'completion', 'failure', 'cancel', 'retry', 'link', 'expiry',
        'template_create', 'template_edit', 'template_delete', 'preview', 'search', 'estimate',
        'link_used', 'link_revoked', 'link_refused'));
"""

# What was recorded stays as it is: the older table of actions holds for what comes.
_DOWN = """
ALTER TABLE exports.audit_log
    DROP CONSTRAINT audit_log_action_check,
    ADD CONSTRAINT audit_log_action_check CHECK (action IN (
        'request', 'refusal', 'start', 'completion', 'failure', 'cancel', 'retry', 'link', 'expiry',
        'template_create', 'template_edit', 'template_delete', 'preview', 'search', 'estimate')) NOT VALID;
DROP TABLE exports.links;
"""


def upgrade() -> None:
    """Creates the table, and allows the actions."""
    op.get_bind().exec_driver_sql(_UP)


def downgrade() -> None:
    """Takes both back; links that were handed out lead nowhere then."""
    op.get_bind().exec_driver_sql(_DOWN)

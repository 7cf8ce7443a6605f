-- The reference tables that the datasets read. People have their own: a dataset is one file, and its SQL may read any
-- tables. Names are unqualified: they are found, and made, by the search path.

CREATE TABLE IF NOT EXISTS users (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email      text NOT NULL,
    username   text NOT NULL UNIQUE,
    role       text NOT NULL CHECK (role IN ('operator', 'campaign_manager', 'analyst', 'compliance', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE users IS 'Who may ask for exports, and in which role.';
CREATE UNIQUE INDEX IF NOT EXISTS users_email ON users (lower(email));

CREATE TABLE IF NOT EXISTS campaigns (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name           text NOT NULL,
    owner_id       uuid NOT NULL REFERENCES users (id),
    assistant_used text,
    status         text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'active', 'paused', 'completed')),
    created_at     timestamptz NOT NULL DEFAULT now(),
    completed_at   timestamptz
);
COMMENT ON TABLE campaigns IS 'A campaign, and who owns it.';
COMMENT ON COLUMN campaigns.assistant_used IS 'The assistant that called.';
CREATE INDEX IF NOT EXISTS campaigns_owner ON campaigns (owner_id);
CREATE INDEX IF NOT EXISTS campaigns_status ON campaigns (status);

CREATE TABLE IF NOT EXISTS contacts (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    campaign_id         uuid NOT NULL REFERENCES campaigns (id),
    external_contact_id text,
    name                text,
    business_name       text,
    phone               text NOT NULL,
    email               text,
    outcome             text NOT NULL DEFAULT 'pending' CHECK (
        outcome IN ('pending', 'in_progress', 'completed', 'refused', 'not_reached', 'excluded')),
    attempt_count       integer NOT NULL DEFAULT 0,
    last_attempt_at     timestamptz,
    completed_at        timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE contacts IS 'A person to be called in a campaign, and what came of it.';
COMMENT ON COLUMN contacts.phone IS 'E.164, with the leading plus sign.';
COMMENT ON COLUMN contacts.external_contact_id IS 'The id in the customer''s system; may have leading zeros.';
CREATE INDEX IF NOT EXISTS contacts_campaign ON contacts (campaign_id, created_at, id);
CREATE INDEX IF NOT EXISTS contacts_last_attempt ON contacts (campaign_id, last_attempt_at);

CREATE TABLE IF NOT EXISTS calls (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    contact_id      uuid NOT NULL REFERENCES contacts (id),
    status          text NOT NULL,
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    ended_reason    text,
    cost_usd        numeric(12, 4),
    recording_url   text,
    transcript_json jsonb
);
COMMENT ON TABLE calls IS 'One call to a contact.';
COMMENT ON COLUMN calls.transcript_json IS 'The transcript: the whole text under "text", who said what under "turns".';
CREATE INDEX IF NOT EXISTS calls_contact ON calls (contact_id, started_at, id);
CREATE INDEX IF NOT EXISTS calls_started ON calls (started_at);

CREATE TABLE IF NOT EXISTS survey_answers (
    contact_id  uuid NOT NULL REFERENCES contacts (id),
    question    smallint NOT NULL CHECK (question BETWEEN 1 AND 3),
    answer      text,
    answered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (contact_id, question)
);
COMMENT ON TABLE survey_answers IS 'What a contact answered to each question of the survey.';

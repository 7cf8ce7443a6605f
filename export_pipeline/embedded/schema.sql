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

CREATE TABLE IF NOT EXISTS teams (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE teams IS 'A team of users.';
ALTER TABLE users ADD COLUMN IF NOT EXISTS team_id uuid REFERENCES teams (id);
CREATE INDEX IF NOT EXISTS users_team ON users (team_id);

CREATE TABLE IF NOT EXISTS locations (
    id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name    text NOT NULL UNIQUE,
    country text NOT NULL
);
COMMENT ON COLUMN locations.country IS 'ISO 3166-1, two letters.';

CREATE TABLE IF NOT EXISTS categories (
    id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE
);
COMMENT ON TABLE categories IS 'What a lead is about.';

CREATE TABLE IF NOT EXISTS lead_sources (
    id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE,
    url  text
);
COMMENT ON TABLE lead_sources IS 'A place where leads are looked for.';

CREATE TABLE IF NOT EXISTS source_runs (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source_id   uuid NOT NULL REFERENCES lead_sources (id),
    status      text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed')),
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    leads_found integer NOT NULL DEFAULT 0,
    duplicates  integer NOT NULL DEFAULT 0,
    errors      integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE source_runs IS 'One look at a source, with what it found.';
CREATE INDEX IF NOT EXISTS source_runs_source ON source_runs (source_id, started_at);
CREATE INDEX IF NOT EXISTS source_runs_started ON source_runs (started_at);

CREATE TABLE IF NOT EXISTS leads (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id     uuid NOT NULL REFERENCES users (id),
    source_id    uuid NOT NULL REFERENCES lead_sources (id),
    location_id  uuid REFERENCES locations (id),
    category_id  uuid REFERENCES categories (id),
    title        text NOT NULL,
    description  text,
    price        numeric(12, 2),
    status       text NOT NULL DEFAULT 'new' CHECK (
        status IN ('new', 'contacted', 'qualified', 'converted', 'rejected')),
    email        text,
    phone        text,
    url          text,
    posted_at    timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    contacted_at timestamptz,
    converted_at timestamptz
);
COMMENT ON TABLE leads IS 'Somebody who might become a customer, found at a source.';
COMMENT ON COLUMN leads.phone IS 'E.164, with the leading plus sign.';
CREATE INDEX IF NOT EXISTS leads_owner ON leads (owner_id, created_at);
CREATE INDEX IF NOT EXISTS leads_created ON leads (created_at, id);
CREATE INDEX IF NOT EXISTS leads_location ON leads (location_id);
CREATE INDEX IF NOT EXISTS leads_category ON leads (category_id);
CREATE INDEX IF NOT EXISTS leads_status ON leads (status);

CREATE TABLE IF NOT EXISTS automation_runs (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind       text NOT NULL CHECK (kind IN ('reply', 'rule', 'schedule')),
    name       text NOT NULL,
    lead_id    uuid REFERENCES leads (id),
    status     text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed')),
    started_at timestamptz NOT NULL,
    ended_at   timestamptz
);
COMMENT ON TABLE automation_runs IS 'One execution of an automatic reply, a rule or a schedule.';
CREATE INDEX IF NOT EXISTS automation_runs_started ON automation_runs (started_at);

CREATE TABLE IF NOT EXISTS experiments (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL,
    owner_id   uuid NOT NULL REFERENCES users (id),
    status     text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'stopped')),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE experiments IS 'A comparison of variants, and who owns it.';
CREATE INDEX IF NOT EXISTS experiments_owner ON experiments (owner_id);

CREATE TABLE IF NOT EXISTS variants (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    experiment_id uuid NOT NULL REFERENCES experiments (id),
    name          text NOT NULL,
    is_control    boolean NOT NULL DEFAULT false,
    weight        double precision NOT NULL DEFAULT 1 CHECK (weight > 0),
    UNIQUE (experiment_id, name)
);
COMMENT ON COLUMN variants.is_control IS 'The one that the others are compared with.';
COMMENT ON COLUMN variants.weight IS 'Its part of the users, in relation to the other variants'' weights.';
CREATE UNIQUE INDEX IF NOT EXISTS variants_control ON variants (experiment_id) WHERE is_control;

CREATE TABLE IF NOT EXISTS assignments (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    experiment_id uuid NOT NULL REFERENCES experiments (id),
    variant_id    uuid NOT NULL REFERENCES variants (id),
    distinct_id   text NOT NULL,
    assigned_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (experiment_id, distinct_id)
);
COMMENT ON TABLE assignments IS 'Which variant of an experiment a user got.';
CREATE INDEX IF NOT EXISTS assignments_variant ON assignments (variant_id);
CREATE INDEX IF NOT EXISTS assignments_assigned ON assignments (assigned_at);

CREATE TABLE IF NOT EXISTS metrics (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    assignment_id uuid NOT NULL REFERENCES assignments (id),
    metric        text NOT NULL,
    value         double precision NOT NULL DEFAULT 1,
    recorded_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE metrics IS 'Something measured of a user in an experiment: a conversion (1) or an amount.';
CREATE INDEX IF NOT EXISTS metrics_assignment ON metrics (assignment_id, metric);

CREATE TABLE IF NOT EXISTS feature_flags (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key         text NOT NULL UNIQUE,
    description text,
    enabled     boolean NOT NULL DEFAULT false,
    created_by  uuid NOT NULL REFERENCES users (id),
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE feature_flags IS 'A feature that can be switched on and off.';

CREATE TABLE IF NOT EXISTS app_audit_log (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    at          timestamptz NOT NULL DEFAULT now(),
    actor_id    uuid REFERENCES users (id),
    entity_type text NOT NULL,
    entity_id   text,
    action      text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE app_audit_log IS 'Who did what to what in the application.';
COMMENT ON COLUMN app_audit_log.actor_id IS 'Null: the application itself.';
CREATE INDEX IF NOT EXISTS app_audit_log_at ON app_audit_log (at, id);
CREATE INDEX IF NOT EXISTS app_audit_log_actor ON app_audit_log (actor_id, at);
CREATE INDEX IF NOT EXISTS app_audit_log_entity ON app_audit_log (entity_type, entity_id);

CREATE TABLE IF NOT EXISTS events (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event       text NOT NULL,
    distinct_id text NOT NULL,
    timestamp   timestamptz NOT NULL DEFAULT now(),
    properties  jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE events IS 'What users did in the application.';
COMMENT ON COLUMN events.distinct_id IS 'A pseudonym of the user.';
CREATE INDEX IF NOT EXISTS events_timestamp ON events (timestamp, id);
CREATE INDEX IF NOT EXISTS events_event ON events (event, timestamp);
CREATE INDEX IF NOT EXISTS events_distinct_id ON events (distinct_id, timestamp);

CREATE TABLE IF NOT EXISTS deletions (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    table_name  text NOT NULL,
    row_id      uuid NOT NULL,
    owner_id    uuid,
    campaign_id uuid,
    deleted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE deletions IS 'Which rows were deleted, for exports of what has changed: no more than whose they were.';
CREATE INDEX IF NOT EXISTS deletions_row ON deletions (table_name, row_id);

-- One for each table, as each leads to its owner in its own way. TRUNCATE is not seen.
CREATE OR REPLACE FUNCTION note_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    campaign uuid;
    owner uuid;
BEGIN
    IF TG_TABLE_NAME = 'campaigns' THEN
        campaign := OLD.id;
        owner := OLD.owner_id;
    ELSIF TG_TABLE_NAME = 'leads' THEN
        owner := OLD.owner_id;
    ELSIF TG_TABLE_NAME = 'contacts' THEN
        SELECT found.id, found.owner_id INTO campaign, owner FROM campaigns AS found WHERE found.id = OLD.campaign_id;
    ELSIF TG_TABLE_NAME = 'calls' THEN
        SELECT found.id, found.owner_id INTO campaign, owner
        FROM contacts AS contact JOIN campaigns AS found ON found.id = contact.campaign_id
        WHERE contact.id = OLD.contact_id;
    END IF;
    INSERT INTO deletions (table_name, row_id, owner_id, campaign_id) VALUES (TG_TABLE_NAME, OLD.id, owner, campaign);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER note_deletion AFTER DELETE ON campaigns FOR EACH ROW EXECUTE FUNCTION note_deletion();
CREATE OR REPLACE TRIGGER note_deletion AFTER DELETE ON contacts FOR EACH ROW EXECUTE FUNCTION note_deletion();
CREATE OR REPLACE TRIGGER note_deletion AFTER DELETE ON calls FOR EACH ROW EXECUTE FUNCTION note_deletion();
CREATE OR REPLACE TRIGGER note_deletion AFTER DELETE ON leads FOR EACH ROW EXECUTE FUNCTION note_deletion();
CREATE OR REPLACE TRIGGER note_deletion AFTER DELETE ON events FOR EACH ROW EXECUTE FUNCTION note_deletion();

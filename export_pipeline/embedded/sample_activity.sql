-- The sample's teams, leads, automation, experiments, flags, audit events and events: made up, the same each time, in
-- October and November 2010. Phone numbers are in the range reserved for fiction, addresses at example.com.

-- A number from 0 to `sides` - 1 that follows from the seed alone.
CREATE FUNCTION pg_temp.roll(seed text, sides integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT (('x' || substr(md5(seed), 1, 7))::bit(28)::integer % sides)
$$;
CREATE FUNCTION pg_temp.user_of(address text) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT id FROM users WHERE email = address
$$;

INSERT INTO teams (id, name, created_at)
SELECT md5('team:' || name)::uuid, name, '2008-01-01Z'
FROM unnest(ARRAY['North', 'South', 'Insights & Compliance']) AS name;
UPDATE users SET team_id = md5('team:' || CASE
    WHEN email IN ('manager@example.com', 'operator@example.com') THEN 'North'
    WHEN email IN ('manager2@example.com', 'operator2@example.com') THEN 'South'
    ELSE 'Insights & Compliance' END)::uuid
WHERE email LIKE '%@example.com' AND role <> 'admin';

INSERT INTO locations (id, name, country)
SELECT md5('location:' || name)::uuid, name, country
FROM (VALUES ('Lisbon', 'PT'), ('Porto', 'PT'), ('Faro', 'PT'), ('São Paulo', 'BR'), ('Zürich', 'CH'),
    ('O''Fallon, MO', 'US'), ('Łódź', 'PL')) AS place (name, country);
INSERT INTO categories (id, name)
SELECT md5('category:' || name)::uuid, name
FROM unnest(ARRAY['Apartments', 'Cars', 'Furniture, home', 'Jobs', 'Electronics']) AS name;
INSERT INTO lead_sources (id, name, url)
SELECT md5('source:' || name)::uuid, name, 'https://' || lower(name) || '.example.com'
FROM unnest(ARRAY['Classifieds', 'Listings', 'Forum', 'Partners']) AS name;

INSERT INTO source_runs (id, source_id, status, started_at, ended_at, leads_found, duplicates, errors)
SELECT
    md5(run)::uuid,
    md5('source:' || name)::uuid,
    CASE WHEN n = 119 AND name = 'Forum' THEN 'running' WHEN failed THEN 'failed' ELSE 'succeeded' END,
    started_at,
    CASE WHEN NOT (n = 119 AND name = 'Forum') THEN
        started_at + (30 + pg_temp.roll(run || 's', 900)) * interval '1 s' END,
    CASE WHEN failed THEN 0 ELSE pg_temp.roll(run || 'f', 40) END,
    CASE WHEN failed THEN 0 ELSE pg_temp.roll(run || 'd', 12) END,
    CASE WHEN failed THEN 1 + pg_temp.roll(run || 'e', 5) ELSE pg_temp.roll(run || 'e', 9) / 8 END
FROM unnest(ARRAY['Classifieds', 'Listings', 'Forum', 'Partners']) AS name
CROSS JOIN generate_series(0, 119) AS n
CROSS JOIN LATERAL (SELECT 'run:' || name || n AS run) AS named
CROSS JOIN LATERAL (
    SELECT pg_temp.roll(run, 9) = 0 AS failed, '2010-10-01 03:00Z'::timestamptz + n * interval '12 h' AS started_at
) AS made;

INSERT INTO leads (id, owner_id, source_id, location_id, category_id, title, description, price, status, email, phone,
    url, posted_at, created_at, contacted_at, converted_at)
SELECT
    md5('lead:' || n)::uuid,
    CASE WHEN pg_temp.roll('o' || n, 5) < 3 THEN pg_temp.user_of('manager@example.com')
        ELSE pg_temp.user_of('manager2@example.com') END,
    md5('source:' || (ARRAY['Classifieds', 'Listings', 'Forum', 'Partners'])[1 + pg_temp.roll('s' || n, 4)])::uuid,
    CASE WHEN n % 50 <> 7 THEN md5('location:' || (ARRAY['Lisbon', 'Porto', 'Faro', 'São Paulo', 'Zürich',
        'O''Fallon, MO', 'Łódź'])[1 + pg_temp.roll('l' || n, 7)])::uuid END,
    CASE WHEN n % 60 <> 9 THEN md5('category:' || (ARRAY['Apartments', 'Cars', 'Furniture, home', 'Jobs',
        'Electronics'])[1 + pg_temp.roll('c' || n, 5)])::uuid END,
    (ARRAY['Bright flat, two rooms', 'Nearly new estate car', 'Oak table "Lotte"', 'Night shift, 100% remote',
        'Camera A_7 with lens', '=Bargain= sofa', 'URGENT: garage wanted', 'Fahrrad für Kinder 😀'])
        [1 + pg_temp.roll('t' || n, 8)] || ' no. ' || n,
    CASE WHEN n % 4 <> 1 THEN (ARRAY['First owner, no smoking.', 'Price is negotiable; save 50% today.',
        E'Pick up in person.\nCash only.', 'Ask for c:\temp_files.', 'Sofort verfügbar – ÖPNV nah.'])
        [1 + pg_temp.roll('d' || n, 5)] END,
    CASE WHEN n % 11 <> 3 THEN (100 + pg_temp.roll('p' || n, 250000)) / 100.0 END,
    status,
    CASE WHEN n % 3 <> 0 THEN 'lead' || n || '@example.com' END,
    CASE WHEN n % 5 <> 0 THEN '+1' || (201 + n / 100) || '55501' || lpad((n % 100)::text, 2, '0') END,
    'https://listings.example.com/' || n,
    created_at - pg_temp.roll('a' || n, 200000) * interval '1 s',
    created_at,
    CASE WHEN status <> 'new' THEN created_at + (60 + pg_temp.roll('k' || n, 300000)) * interval '1 s' END,
    CASE WHEN status = 'converted' THEN created_at + (400000 + pg_temp.roll('v' || n, 900000)) * interval '1 s' END
FROM generate_series(1, 3000) AS n
CROSS JOIN LATERAL (
    SELECT
        '2010-10-01Z'::timestamptz + n * interval '28 min 43.210987 s' AS created_at,
        (ARRAY['new', 'new', 'new', 'contacted', 'contacted', 'qualified', 'converted', 'rejected', 'rejected'])
            [1 + pg_temp.roll('st' || n, 9)] AS status
) AS made;

INSERT INTO automation_runs (id, kind, name, lead_id, status, started_at, ended_at)
SELECT
    md5('automation:' || n)::uuid,
    kind,
    CASE kind WHEN 'reply' THEN 'First answer' WHEN 'rule' THEN 'Reject duplicates' ELSE 'Morning digest' END,
    CASE WHEN kind = 'reply' THEN md5('lead:' || n)::uuid END,
    CASE WHEN n = 1500 THEN 'running' WHEN pg_temp.roll('x' || n, 12) = 0 THEN 'failed' ELSE 'succeeded' END,
    started_at,
    CASE WHEN n <> 1500 THEN started_at + (20 + pg_temp.roll('y' || n, 4000)) * interval '1 ms' END
FROM generate_series(1, 1500) AS n
CROSS JOIN LATERAL (
    SELECT
        (ARRAY['reply', 'reply', 'reply', 'rule', 'rule', 'schedule'])[1 + pg_temp.roll('z' || n, 6)] AS kind,
        '2010-10-01 00:10Z'::timestamptz + n * interval '57 min' AS started_at
) AS made;

INSERT INTO experiments (id, name, owner_id, status, created_at)
SELECT md5('experiment:' || name)::uuid, name, pg_temp.user_of(owner), status, created_at::timestamptz
FROM (VALUES
    ('Gate at level 30 or 40', 'manager@example.com', 'stopped', '2010-09-25Z'),
    ('Three prices', 'manager2@example.com', 'running', '2010-09-28Z'),
    ('Skewed reminder', 'manager@example.com', 'running', '2010-10-02Z'),
    ('Not begun', 'manager2@example.com', 'draft', '2010-11-01Z')
) AS experiment (name, owner, status, created_at);
INSERT INTO variants (id, experiment_id, name, is_control, weight)
SELECT md5('variant:' || experiment || ':' || variant)::uuid, md5('experiment:' || experiment)::uuid, variant,
    is_control, weight
FROM (VALUES
    ('Gate at level 30 or 40', 'gate_30', true, 1), ('Gate at level 30 or 40', 'gate_40', false, 1),
    ('Three prices', 'now', true, 2), ('Three prices', 'lower', false, 1), ('Three prices', 'higher', false, 1),
    ('Skewed reminder', 'none', true, 1), ('Skewed reminder', 'reminder', false, 1),
    ('Not begun', 'a', true, 1), ('Not begun', 'b', false, 1)
) AS variant (experiment, variant, is_control, weight);
INSERT INTO assignments (id, experiment_id, variant_id, distinct_id, assigned_at)
SELECT
    md5('assignment:' || experiment || n)::uuid,
    md5('experiment:' || experiment)::uuid,
    md5('variant:' || experiment || ':' || arms[1 + pg_temp.roll(experiment || n, cardinality(arms))])::uuid,
    'user-' || lpad(n::text, 5, '0'),
    '2010-10-05Z'::timestamptz + n * interval '31 min'
FROM (VALUES
    ('Gate at level 30 or 40', 1600, ARRAY['gate_30', 'gate_40']),
    ('Three prices', 1200, ARRAY['now', 'now', 'lower', 'higher']),
    ('Skewed reminder', 900, ARRAY['none', 'none', 'none', 'reminder', 'reminder'])
) AS experiment (experiment, users, arms)
CROSS JOIN LATERAL generate_series(1, users) AS n;
INSERT INTO metrics (id, assignment_id, metric, value, recorded_at)
SELECT
    md5('metric:' || a.id || metric || part)::uuid,
    a.id,
    metric,
    CASE metric WHEN 'revenue_usd' THEN (100 + pg_temp.roll('amount' || a.id || part, 9000)) / 100.0 ELSE 1 END,
    a.assigned_at + (1 + pg_temp.roll('when' || a.id, 20)) * interval '1 h'
FROM assignments AS a
JOIN variants AS v ON v.id = a.variant_id
CROSS JOIN (VALUES ('retention_1d', 45, 1), ('retention_7d', 19, 1), ('revenue_usd', 12, 1), ('revenue_usd', 4, 2))
    AS made (metric, percent, part)
WHERE pg_temp.roll(metric || part || a.id, 100) < percent + CASE WHEN v.is_control THEN 0 ELSE 3 END;

INSERT INTO feature_flags (id, key, description, enabled, created_by, created_at)
SELECT md5('flag:' || key)::uuid, key, description, enabled, pg_temp.user_of(maker), made::timestamptz
FROM (VALUES
    ('export', 'Exports of one''s own data.', true, 'admin@example.com', '2010-10-01Z'),
    ('lead-search', 'Search in leads.', true, 'manager@example.com', '2010-10-03Z'),
    ('auto-reply', 'Automatic replies.', true, 'manager2@example.com', '2010-10-20Z'),
    ('new-dashboard', NULL, false, 'admin@example.com', '2010-11-11Z')
) AS flag (key, description, enabled, maker, made);

INSERT INTO app_audit_log (id, at, actor_id, entity_type, entity_id, action, detail)
SELECT
    md5('audit:' || n)::uuid,
    '2010-10-01 08:00Z'::timestamptz + n * interval '71 min',
    CASE WHEN n % 40 <> 5 THEN pg_temp.user_of((ARRAY['manager@example.com', 'manager2@example.com',
        'operator@example.com', 'analyst@example.com', 'admin@example.com'])[1 + pg_temp.roll('who' || n, 5)]) END,
    entity_type,
    md5(entity_type || n % 17),
    CASE entity_type WHEN 'user' THEN (ARRAY['sign_in', 'role_change'])[1 + pg_temp.roll('u' || n, 2)]
        WHEN 'setting' THEN 'update' ELSE (ARRAY['create', 'update', 'delete', 'view'])[1 + pg_temp.roll('v' || n, 4)]
        END,
    CASE WHEN entity_type = 'setting' THEN jsonb_build_object('setting', 'retention_days', 'to', n % 90)
        ELSE '{}'::jsonb END
FROM generate_series(1, 1200) AS n
CROSS JOIN LATERAL (
    SELECT (ARRAY['campaign', 'campaign', 'lead', 'lead', 'experiment', 'feature_flag', 'user', 'setting'])
        [1 + pg_temp.roll('kind' || n, 8)] AS entity_type
) AS made;

INSERT INTO events (id, event, distinct_id, timestamp, properties)
SELECT
    md5('event:' || n)::uuid,
    event,
    'user-' || lpad((1 + pg_temp.roll('id' || n, 400))::text, 5, '0'),
    '2010-10-01Z'::timestamptz + n * interval '4 min 19.101003 s',
    jsonb_strip_nulls(jsonb_build_object(
        'path', '/' || (ARRAY['', 'leads', 'campaigns', 'Preisübersicht'])[1 + pg_temp.roll('path' || n, 4)],
        'feature', CASE WHEN event = 'feature_used' THEN (ARRAY['export', 'lead-search', 'lead-search', 'auto-reply'])
            [1 + pg_temp.roll('feature' || n, 4)] END,
        'seconds', CASE WHEN event = 'page_viewed' THEN pg_temp.roll('seconds' || n, 6000) / 10.0 END,
        '$ip', CASE WHEN n % 6 = 0 THEN '192.0.2.' || n % 250 END))
FROM generate_series(1, 20000) AS n
CROSS JOIN LATERAL (
    SELECT (ARRAY['page_viewed', 'page_viewed', 'page_viewed', 'feature_used', 'feature_used', 'lead_opened',
        'signed_in'])[1 + pg_temp.roll('event' || n, 7)] AS event
) AS made;

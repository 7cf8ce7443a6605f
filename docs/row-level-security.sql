-- Row-level security in the source, as a second guard behind the queries: whoever exports only their own rows gets no
-- others, even if a dataset's file forgets to say whose they are. For the reference schema; see what-may-leave.md.
--
-- Run it as the tables' owner who may create roles, by psql -f. It can be run again. The application's own accounts are
-- not touched: the owner of a table and accounts with BYPASSRLS see all, and for others a second policy lets all pass.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'export_own') THEN
        CREATE ROLE export_own NOLOGIN NOSUPERUSER NOBYPASSRLS;
    END IF;
END $$;

DO $$
DECLARE
    -- The person on whose behalf rows are read; null, and so nobody's rows, where it is not set.
    person CONSTANT text := '(SELECT nullif(current_setting(''app.principal'', true), '''')::uuid)';
    mine CONSTANT jsonb := jsonb_build_object(
        'campaigns', 'owner_id = ' || person,
        'contacts', 'campaign_id IN (SELECT id FROM campaigns WHERE owner_id = ' || person || ')',
        'calls', 'contact_id IN (SELECT contact.id FROM contacts AS contact JOIN campaigns AS campaign'
            ' ON campaign.id = contact.campaign_id WHERE campaign.owner_id = ' || person || ')',
        'survey_answers', 'contact_id IN (SELECT contact.id FROM contacts AS contact JOIN campaigns AS campaign'
            ' ON campaign.id = contact.campaign_id WHERE campaign.owner_id = ' || person || ')',
        'leads', 'owner_id = ' || person,
        'deletions', 'owner_id = ' || person,
        'experiments', 'owner_id = ' || person,
        'variants', 'experiment_id IN (SELECT id FROM experiments WHERE owner_id = ' || person || ')',
        'assignments', 'experiment_id IN (SELECT id FROM experiments WHERE owner_id = ' || person || ')',
        'metrics', 'assignment_id IN (SELECT assignment.id FROM assignments AS assignment JOIN experiments AS experiment'
            ' ON experiment.id = assignment.experiment_id WHERE experiment.owner_id = ' || person || ')'
    );
    target text;
    condition text;
BEGIN
    FOR target, condition IN SELECT * FROM jsonb_each_text(mine) LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', target);
        EXECUTE format('DROP POLICY IF EXISTS export_own_rows ON %I', target);
        EXECUTE format('CREATE POLICY export_own_rows ON %I FOR SELECT TO export_own USING (%s)', target, condition);
        EXECUTE format('DROP POLICY IF EXISTS export_own_others ON %I', target);
        EXECUTE format(
            'CREATE POLICY export_own_others ON %I TO PUBLIC USING (current_user <> ''export_own'')', target);
        EXECUTE format('GRANT SELECT ON %I TO export_own', target);
    END LOOP;
    -- Nobody's in particular, and read by datasets of one's own rows, too.
    FOREACH target IN ARRAY ARRAY['users', 'teams', 'locations', 'categories', 'lead_sources'] LOOP
        EXECUTE format('GRANT SELECT ON %I TO export_own', target);
    END LOOP;
END $$;

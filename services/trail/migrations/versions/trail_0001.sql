-- Who may look names up in this schema may read it: the owner alone, whatever default privileges would hand out.
DO $$
DECLARE
    other record;
BEGIN
    FOR other IN
        SELECT DISTINCT granted.grantee::regrole AS role
        FROM pg_namespace, aclexplode(nspacl) AS granted
        WHERE oid = current_schema()::regnamespace AND granted.grantee NOT IN (0, nspowner)
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s', current_schema(), other.role);
    END LOOP;
END
$$;

CREATE TABLE trail (
    number bigint PRIMARY KEY,
    time timestamptz NOT NULL,
    sub text NOT NULL,
    role text NOT NULL,
    method text NOT NULL,
    route text NOT NULL,
    facility_id text,
    department_id text,
    token_id text,
    patient bytea,
    status integer NOT NULL,
    command text,
    hash bytea NOT NULL
);

COMMENT ON TABLE trail IS 'Who read or changed what through a gateway. Rows are added, and never changed or taken away.';

COMMENT ON COLUMN trail.number IS 'From 1, without gaps.';

COMMENT ON COLUMN trail.time IS 'When the answer was given.';

COMMENT ON COLUMN trail.sub IS 'Who, as their token says.';

COMMENT ON COLUMN trail.route IS 'The endpoint: its template, never the address.';

COMMENT ON COLUMN trail.patient IS 'sha256(convert_to(facility_id || ''/'' || patient_id, ''UTF8'')) of the patient whom the request named.';

COMMENT ON COLUMN trail.status IS 'Of the HTTP answer: 2xx is done, 4xx was refused.';

COMMENT ON COLUMN trail.command IS 'Of a change: {partition}-{offset} of its command in the log.';

COMMENT ON COLUMN trail.hash IS 'SHA-256 over the hash of the row before and this row''s columns (services/trail/chain.py).';

CREATE INDEX trail_of_a_patient ON trail (patient) WHERE patient IS NOT NULL;

CREATE FUNCTION only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only added to';
END
$$;

CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON trail EXECUTE FUNCTION only_added_to();

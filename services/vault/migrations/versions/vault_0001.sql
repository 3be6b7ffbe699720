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

CREATE TABLE facility_keys (
    facility_id text PRIMARY KEY,
    master_id text NOT NULL,
    wrapped bytea NOT NULL
);

COMMENT ON TABLE facility_keys IS 'Under which a facility''s patient numbers become patient_ids; never changed, or everybody would be somebody else.';

CREATE TABLE patient_keys (
    facility_id text,
    patient_id text,
    master_id text NOT NULL,
    wrapped bytea NOT NULL,
    PRIMARY KEY (facility_id, patient_id)
);

COMMENT ON TABLE patient_keys IS 'Under which each patient''s contact is encrypted; wrapped by the master key of that id. Without its row a contact is noise.';

CREATE TABLE contacts (
    facility_id text,
    patient_id text,
    sealed bytea NOT NULL,
    PRIMARY KEY (facility_id, patient_id)
);

COMMENT ON TABLE contacts IS 'How patients are reached, if they wish to be: AES-256-GCM under the patient''s key.';

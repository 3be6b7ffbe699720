-- Decided in PostgreSQL, a transaction a command: the department's row is locked, so its commands follow each other.
CREATE TABLE department (
    key text PRIMARY KEY, applied bigint NOT NULL DEFAULT -1, sequence bigint NOT NULL DEFAULT 0,
    arrivals bigint NOT NULL DEFAULT 0);
CREATE TABLE shift (
    key text, slot text, doctor_id text, number int NOT NULL, capacity int NOT NULL, PRIMARY KEY (key, slot, doctor_id));
CREATE TABLE day (key text, date text, last_token_no int NOT NULL, PRIMARY KEY (key, date));
CREATE TABLE session (
    key text, date text, slot text, doctor_id text, number int NOT NULL, capacity int NOT NULL, taken int NOT NULL,
    PRIMARY KEY (key, date, slot, doctor_id));
CREATE TABLE token (
    key text, date text, token_no int, slot text NOT NULL, arrival bigint NOT NULL, patient_id text NOT NULL,
    source text NOT NULL, class int NOT NULL, status text NOT NULL, doctor_id text, times_preempted int NOT NULL,
    PRIMARY KEY (key, date, token_no));
CREATE INDEX ON token (key, date, slot, class, arrival) WHERE status = 'WAITLISTED';
CREATE INDEX ON token (key, date, slot, class DESC, times_preempted, arrival DESC) WHERE status = 'CONFIRMED';
CREATE UNIQUE INDEX ON token (key, date, slot, patient_id) WHERE status IN ('WAITLISTED', 'CONFIRMED');

CREATE TYPE said AS (type text, data json);
CREATE TABLE outbox (key text, at bigint, first_sequence bigint NOT NULL, said said[] NOT NULL, PRIMARY KEY (key, at));

CREATE FUNCTION free_doctor(k text, d text, s text) RETURNS text LANGUAGE sql AS $$
    SELECT doctor_id FROM session WHERE key = k AND date = d AND slot = s AND taken < capacity
    ORDER BY taken::numeric / capacity, taken, number LIMIT 1
$$;

CREATE FUNCTION take(t token, change int) RETURNS void LANGUAGE sql AS $$
    UPDATE session SET taken = taken + change
    WHERE key = t.key AND date = t.date AND slot = t.slot AND doctor_id = t.doctor_id
$$;

CREATE FUNCTION place(t token) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) + 1 FROM token WHERE key = t.key AND date = t.date AND slot = t.slot AND status = 'WAITLISTED'
        AND (class, arrival) < (t.class, t.arrival)
$$;

CREATE FUNCTION token_id(t token) RETURNS text LANGUAGE sql AS $$
    SELECT replace(t.key, '/', '.') || '.' || replace(t.date, '-', '') || '.' || t.token_no
$$;

-- An event of a token; what more it carries is appended, without its braces.
CREATE FUNCTION tell(event_type text, t token, more text DEFAULT '') RETURNS said LANGUAGE sql AS $$
    SELECT (event_type, rtrim(json_build_object(
        'facility_id', split_part(t.key, '/', 1), 'department_id', split_part(t.key, '/', 2), 'date', t.date,
        'slot', t.slot, 'token_id', token_id(t), 'token_no', t.token_no, 'patient_id', t.patient_id,
        'source', t.source, 'status', t.status, 'doctor_id', t.doctor_id)::text, '}') || more || '}')::said
$$;

CREATE FUNCTION register_doctor(k text, data json) RETURNS SETOF said LANGUAGE plpgsql AS $$
DECLARE doctors int := (SELECT count(DISTINCT doctor_id) FROM shift WHERE key = k);
BEGIN
    INSERT INTO shift SELECT k, each->>'slot', data->>'doctor_id', doctors, (each->>'capacity')::int
        FROM json_array_elements(data->'schedule') AS each;
    RETURN NEXT ('DoctorRegistered', data)::said;
END $$;

CREATE FUNCTION request_token(k text, data json) RETURNS SETOF said LANGUAGE plpgsql AS $$
DECLARE
    d text := data->>'date'; s text := data->>'slot'; t token; victim token; lost text;
BEGIN
    INSERT INTO session SELECT k, d, s, doctor_id, number, capacity, 0 FROM shift WHERE key = k AND slot = s
        ON CONFLICT DO NOTHING;
    t := (k, d, 1, s, 0, data->>'patient_id', data->>'source', 0, 'CONFIRMED', free_doctor(k, d, s), 0);
    t.class := array_position(ARRAY['EMERGENCY', 'PAID', 'FOLLOW_UP', 'ONLINE', 'WALK_IN'], t.source);
    INSERT INTO day VALUES (k, d, 1) ON CONFLICT (key, date) DO UPDATE SET last_token_no = day.last_token_no + 1
        RETURNING last_token_no INTO t.token_no;
    UPDATE department SET arrivals = arrivals + 1 WHERE key = k RETURNING arrivals INTO t.arrival;
    IF t.doctor_id IS NULL AND t.class = 1 THEN
        SELECT * INTO victim FROM token WHERE key = k AND date = d AND slot = s AND status = 'CONFIRMED'
            ORDER BY class DESC, times_preempted, arrival DESC LIMIT 1;
        IF victim.class > 1 THEN
            lost := victim.doctor_id;
            PERFORM take(victim, -1);
            UPDATE token SET status = 'WAITLISTED', doctor_id = NULL, times_preempted = times_preempted + 1
                WHERE key = k AND date = d AND token_no = victim.token_no RETURNING * INTO victim;
            RETURN NEXT tell('TokenPreempted', victim, format(
                ',"position":%s,"lost_doctor_id":"%s","reason":"EMERGENCY","by_token_id":"%s"',
                place(victim), lost, token_id(t)));
            t.doctor_id := lost;
        END IF;
    END IF;
    IF t.doctor_id IS NULL THEN
        t.status := 'WAITLISTED';
        RETURN NEXT tell('TokenWaitlisted', t, format(',"position":%s', place(t)));
    ELSE
        PERFORM take(t, 1);
        RETURN NEXT tell('TokenConfirmed', t);
    END IF;
    INSERT INTO token SELECT t.*;
END $$;

CREATE FUNCTION cancel_token(k text, data json) RETURNS SETOF said LANGUAGE plpgsql AS $$
DECLARE
    id text[] := string_to_array(data->>'token_id', '.'); d text := to_char(id[3]::date, 'YYYY-MM-DD'); t token;
BEGIN
    UPDATE token SET status = 'CANCELLED' WHERE key = k AND date = d AND token_no = id[4]::int AND status <> 'CANCELLED'
        RETURNING * INTO t;
    IF NOT FOUND THEN
        RETURN NEXT ('CommandRejected', json_build_object(
            'facility_id', id[1], 'department_id', id[2], 'command_type', 'CancelToken', 'reason',
            CASE WHEN EXISTS (SELECT FROM token WHERE key = k AND date = d AND token_no = id[4]::int)
                THEN 'INVALID_TRANSITION' ELSE 'TOKEN_UNKNOWN' END,
            'token_id', data->>'token_id'))::said;
        RETURN;
    END IF;
    RETURN NEXT tell('TokenCancelled', t);
    PERFORM take(t, -1);
    IF t.doctor_id IS NOT NULL THEN
        UPDATE token SET status = 'CONFIRMED', doctor_id = free_doctor(k, d, t.slot)
            WHERE free_doctor(k, d, t.slot) IS NOT NULL AND (key, date, token_no) = (
                SELECT key, date, token_no FROM token
                WHERE key = k AND date = d AND slot = t.slot AND status = 'WAITLISTED'
                ORDER BY class, arrival LIMIT 1)
            RETURNING * INTO t;
        IF FOUND THEN
            PERFORM take(t, 1);
            RETURN NEXT tell('TokenPromoted', t, ',"reason":"CANCELLATION"');
        END IF;
    END IF;
END $$;

-- Decide a command, or give what was decided of it before; answers below the committed offset are not asked for again.
CREATE FUNCTION answer(k text, command_at bigint, command_type text, data json, committed bigint) RETURNS SETOF outbox
LANGUAGE plpgsql AS $$
DECLARE
    d department; s said[];
BEGIN
    INSERT INTO department VALUES (k) ON CONFLICT DO NOTHING;
    SELECT * INTO d FROM department WHERE key = k FOR UPDATE;
    IF command_at > d.applied THEN
        s := CASE command_type
            WHEN 'opd.RequestToken.v1' THEN ARRAY(SELECT each FROM request_token(k, data) AS each)
            WHEN 'opd.CancelToken.v1' THEN ARRAY(SELECT each FROM cancel_token(k, data) AS each)
            ELSE ARRAY(SELECT each FROM register_doctor(k, data) AS each) END;
        UPDATE department SET applied = command_at, sequence = sequence + cardinality(s) WHERE key = k;
        DELETE FROM outbox WHERE key = k AND at < committed;
        INSERT INTO outbox VALUES (k, command_at, d.sequence + 1, s);
    END IF;
    RETURN QUERY SELECT * FROM outbox WHERE key = k AND at = command_at;
END $$;

"""What the gateway asks of the history's tables (`services/history`)."""

TOKEN = "SELECT * FROM tokens WHERE token_id = $1"  # noqa: S105  no password
ISSUED_BY = "SELECT partition, command_offset FROM token_events WHERE token_id = $1 ORDER BY sequence LIMIT 1"
STORY = "SELECT * FROM token_events WHERE token_id = $1 ORDER BY sequence"

# R8: by class, then arrival. Tokens of one pool are numbered as they arrived.
WAITLIST = """
    SELECT token_id, source, row_number() OVER (ORDER BY array_position($5::text[], source), token_no)::int AS position
    FROM tokens
    WHERE facility_id = $1 AND department_id = $2 AND date = $3 AND slot = $4 AND status = 'WAITLISTED'
    ORDER BY position
"""

# What every token event has, with what never changes of its token.
EVENTS_OF_TOKENS = """
    SELECT n, type, jsonb_strip_nulls(jsonb_build_object(
        'facility_id', token.facility_id, 'department_id', token.department_id, 'date', token.date, 'slot', token.slot,
        'token_id', token_id, 'token_no', token.token_no, 'patient_id', token.patient_id, 'source', event.source,
        'status', event.status, 'doctor_id', event.doctor_id, 'position', event.waitlist_position))::text AS data
    FROM token_events AS event JOIN tokens AS token USING (token_id)
    WHERE partition = $1 AND command_offset = $2
"""
EVENTS_OF_DEPARTMENTS = """
    SELECT n, type,
        (jsonb_build_object('facility_id', facility_id, 'department_id', department_id) || data)::text AS data
    FROM department_events WHERE partition = $1 AND command_offset = $2
"""
REJECTIONS = """
    SELECT n, 'CommandRejected' AS type,
        jsonb_strip_nulls(jsonb_build_object('reason', reason, 'token_id', token_id))::text AS data
    FROM rejections WHERE partition = $1 AND command_offset = $2
"""
EVENTS_OF_A_COMMAND = f"{EVENTS_OF_TOKENS} UNION ALL {EVENTS_OF_DEPARTMENTS} UNION ALL {REJECTIONS} ORDER BY n"

# Ids are remembered for a week (R3), and may then be given anew: the newest counts.
COMMANDS_OF_AN_ID = """
    SELECT partition, command_offset FROM commands
    WHERE causation_id = $1 AND facility_id = $2 AND department_id = $3 AND partition = $4 AND command_offset < $5
        AND (accepted OR reason NOT IN ('DUPLICATE_COMMAND', 'ID_REUSED'))
    ORDER BY command_offset DESC
    LIMIT 50
"""

DOCTORS = """
    SELECT facility_id, department_id, doctor_id, name, schedule::text AS schedule FROM doctors
    WHERE facility_id = $1 AND department_id = $2
    ORDER BY first_sequence
"""
DEPARTMENTS = """
    SELECT facility_id, department_id, count(DISTINCT doctor_id)::int AS doctors,
        format('%s-%s-%s', last.partition, last.command_offset, last.n) AS position
    FROM registrations JOIN departments AS last USING (facility_id, department_id)
    WHERE facility_id = $1 AND ($2::text[] IS NULL OR department_id = ANY($2))
    GROUP BY facility_id, department_id, last.partition, last.command_offset, last.n
    ORDER BY department_id
    LIMIT 1000
"""

# For any date, also one on which nothing has happened yet: the view `sessions` has those alone on which something has.
SESSIONS_OF_A_POOL = """
    SELECT entry.doctor_id, doctor.name, coalesce(said.available, true) AS available,
        coalesce(said.capacity, entry.capacity) AS capacity, coalesce(seats.taken, 0)::int AS taken
    FROM schedule_entries AS entry
    JOIN doctors AS doctor
        ON doctor.facility_id = $1 AND doctor.department_id = $2 AND doctor.doctor_id = entry.doctor_id
    LEFT JOIN session_settings AS said
        ON said.facility_id = $1 AND said.department_id = $2 AND said.date = $3 AND said.slot = $4
        AND said.doctor_id = entry.doctor_id
    LEFT JOIN (
        SELECT doctor_id, count(*) AS taken FROM tokens
        WHERE facility_id = $1 AND department_id = $2 AND date = $3 AND slot = $4
            AND status IN ('CONFIRMED', 'CHECKED_IN', 'CALLED', 'COMPLETED')
        GROUP BY doctor_id
    ) AS seats ON seats.doctor_id = entry.doctor_id
    WHERE entry.facility_id = $1 AND entry.department_id = $2 AND entry.slot = $4
        AND $3 >= entry.from_date AND $3 < entry.before_date AND entry.weekday = extract(isodow FROM $3::date)
    ORDER BY doctor.first_sequence
"""
IS_CLOSED = """
    SELECT count(*) > 0 FROM closed_pools
    WHERE facility_id = $1 AND department_id = $2 AND date = $3 AND slot = $4
"""

MOMENTS = ("checked_in_at", "called_at", "ended_at")
VISITS = """
    SELECT token_id, token_no, date, slot, source, status, checked_in_at, called_at, ended_at FROM tokens
    WHERE facility_id = $1 AND department_id = $2 AND date = $3 AND doctor_id = $4
"""
# What a department was like from one date to another (`allocation_core.estimate.Experience`), slots being on the clocks
# of the time zone $5. The simulator's diary keeps the same from events.
_SEEN = """
    WITH visits AS (
        SELECT doctor_id, date, slot, source, status, token_no, checked_in_at, called_at, ended_at,
            (date + left(slot, 5)::time) AT TIME ZONE $5 AS begins_at
        FROM tokens
        WHERE facility_id = $1 AND department_id = $2 AND date BETWEEN $3 AND $4
    ),
    calls AS (
        SELECT doctor_id, called_at, greatest(begins_at, coalesce(checked_in_at, called_at)) AS there_at,
            lag(called_at) OVER of_a_day AS called_before_at, lag(ended_at) OVER of_a_day AS ended_before_at,
            row_number() OVER of_a_day AS nth,
            greatest(begins_at, min(checked_in_at) OVER (PARTITION BY doctor_id, date, slot)) AS first_there_at
        FROM visits
        WHERE called_at IS NOT NULL AND doctor_id IS NOT NULL
        WINDOW of_a_day AS (PARTITION BY doctor_id, date ORDER BY called_at, token_no)
    )
"""
_OF = "count(*)::float8, coalesce(sum({0}), 0)::float8, coalesce(sum({0} * {0}), 0)::float8"
PACES = f"""
    {_SEEN}
    SELECT doctor_id, {_OF.format("seconds")} FROM (
        SELECT doctor_id, least(extract(epoch FROM called_at - called_before_at), $6) AS seconds
        FROM calls WHERE there_at <= ended_before_at
    ) AS paces
    GROUP BY doctor_id
"""  # noqa: S608  columns of ours
WAYS = f"""
    {_SEEN}
    SELECT
        (SELECT count(*) FROM calls WHERE nth = 1)::int AS doctor_days,
        (SELECT ARRAY[{_OF.format("seconds")}] FROM (
            SELECT extract(epoch FROM called_at - first_there_at) AS seconds FROM calls WHERE nth = 1
        ) AS delays WHERE seconds > $6) AS late,
        (SELECT ARRAY[{_OF.format("seconds")}] FROM (
            SELECT extract(epoch FROM checked_in_at - begins_at) AS seconds FROM visits
            WHERE doctor_id IS NOT NULL AND checked_in_at IS NOT NULL
        ) AS arrivals) AS arrivals,
        (SELECT count(*) FROM visits WHERE doctor_id IS NOT NULL AND checked_in_at IS NOT NULL)::int AS came,
        (SELECT count(*) FROM visits WHERE doctor_id IS NOT NULL
            AND (checked_in_at IS NOT NULL OR status IN ('NO_SHOW', 'CANCELLED')))::int AS expected,
        (SELECT jsonb_object_agg(source, number)::text FROM (
            SELECT source, count(*) AS number FROM visits GROUP BY source
        ) AS classes) AS asked
"""  # noqa: S608  likewise

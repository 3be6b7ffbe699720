CREATE VIEW events AS
SELECT partition, command_offset, n, facility_id, department_id, sequence, type, time, causation_id, token_id, reason
FROM token_events
UNION ALL
SELECT partition, command_offset, n, facility_id, department_id, sequence, 'CommandRejected', time, causation_id,
    token_id, reason
FROM rejections
UNION ALL
SELECT partition, command_offset, n, facility_id, department_id, sequence, type, time, causation_id, NULL,
    data ->> 'reason'
FROM department_events;

COMMENT ON VIEW events IS 'Everything that was said, in one list.';

CREATE VIEW commands AS
SELECT partition, command_offset, causation_id, facility_id, department_id, time,
    type <> 'CommandRejected' AS accepted, type AS first_event, token_id, reason
FROM events
WHERE n = 0;

COMMENT ON VIEW commands IS 'What became of each command: its first event.';

CREATE VIEW doctors AS
SELECT facility_id, department_id, doctor_id, last.name, last.schedule, first_sequence, first_time AS registered_at,
    last.time AS changed_at
FROM (
    SELECT DISTINCT ON (facility_id, department_id, doctor_id) *,
        min(sequence) OVER of_doctor AS first_sequence, min(time) OVER of_doctor AS first_time
    FROM registrations
    WINDOW of_doctor AS (PARTITION BY facility_id, department_id, doctor_id)
    ORDER BY facility_id, department_id, doctor_id, sequence DESC
) AS last;

COMMENT ON VIEW doctors IS 'Every doctor as registered last; first_sequence orders them as R5 does.';

CREATE VIEW schedule_entries AS
SELECT facility_id, department_id, doctor_id, from_date, before_date, entry ->> 'slot' AS slot,
    (entry ->> 'capacity')::integer AS capacity, weekday.number::integer AS weekday
FROM (
    SELECT facility_id, department_id, doctor_id, schedule, day - 1 AS from_date,
        coalesce(lead(day - 1) OVER (PARTITION BY facility_id, department_id, doctor_id ORDER BY sequence), 'infinity')
            AS before_date
    FROM registrations
) AS version,
    jsonb_array_elements(schedule) AS entry,
    unnest(ARRAY['MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT', 'SUN']) WITH ORDINALITY AS weekday (name, number)
WHERE from_date < before_date AND coalesce(entry -> 'weekdays' ? weekday.name, true);

COMMENT ON VIEW schedule_entries IS 'Who works which slot on which weekday (1 = Monday) for how many seats, for dates from from_date to before before_date.';

CREATE VIEW sessions AS
SELECT facility_id, department_id, date, slot, doctor_id,
    max(scheduled) IS NOT NULL AS works,
    coalesce(bool_and(available), true) AS available,
    coalesce(max(said), max(scheduled), 0) AS capacity,
    count(*) FILTER (WHERE status IN ('CONFIRMED', 'CHECKED_IN', 'CALLED', 'COMPLETED')) AS taken,
    count(*) FILTER (WHERE status IN ('CALLED', 'COMPLETED')) AS seen,
    count(*) FILTER (WHERE status = 'NO_SHOW') AS no_shows,
    closed_at IS NOT NULL AS closed
FROM (
    SELECT day.facility_id, day.department_id, day.date, entry.slot, entry.doctor_id,
        entry.capacity AS scheduled, NULL::integer AS said, NULL::boolean AS available, NULL AS status
    FROM (
        SELECT facility_id, department_id, date FROM tokens
        UNION
        SELECT facility_id, department_id, date FROM session_settings
        UNION
        SELECT facility_id, department_id, date FROM closed_pools
    ) AS day
    JOIN schedule_entries AS entry
        ON entry.facility_id = day.facility_id AND entry.department_id = day.department_id
        AND day.date >= entry.from_date AND day.date < entry.before_date
        AND entry.weekday = extract(isodow FROM day.date)
    UNION ALL
    SELECT facility_id, department_id, date, slot, doctor_id, NULL, capacity, available, NULL
    FROM session_settings
    UNION ALL
    SELECT facility_id, department_id, date, slot, doctor_id, NULL, NULL, NULL, status
    FROM tokens
    WHERE doctor_id IS NOT NULL
) AS said_or_seated
LEFT JOIN closed_pools USING (facility_id, department_id, date, slot)
GROUP BY facility_id, department_id, date, slot, doctor_id, closed_at;

COMMENT ON VIEW sessions IS 'One doctor in one slot on one date, for every date on which anything happened.';

COMMENT ON COLUMN sessions.works IS 'Whether the schedule in force on that date has the slot.';

COMMENT ON COLUMN sessions.taken IS 'Seats taken: CONFIRMED, CHECKED_IN, CALLED or COMPLETED.';

COMMENT ON COLUMN sessions.seen IS 'Of those, called in: CALLED or COMPLETED.';

CREATE VIEW pools AS
SELECT facility_id, department_id, date, slot,
    bool_or(closed) AS closed,
    sum(doctors)::bigint AS doctors,
    sum(capacity)::bigint AS capacity,
    sum(taken)::bigint AS taken,
    sum(waiting)::bigint AS waiting
FROM (
    SELECT facility_id, department_id, date, slot, closed, (works AND available)::integer AS doctors,
        CASE WHEN works AND available THEN capacity ELSE 0 END AS capacity, taken, 0 AS waiting
    FROM sessions
    UNION ALL
    SELECT facility_id, department_id, date, slot, NULL, 0, 0, 0, 1
    FROM tokens
    WHERE status = 'WAITLISTED'
) AS seats_or_waiting
GROUP BY facility_id, department_id, date, slot;

COMMENT ON VIEW pools IS 'All sessions of one slot together: seats of the doctors who are there, and who waits.';

CREATE VIEW no_show_rates AS
SELECT facility_id, department_id, date, source,
    count(*) AS expected,
    count(*) FILTER (WHERE status = 'NO_SHOW') AS no_shows,
    round(count(*) FILTER (WHERE status = 'NO_SHOW')::numeric / count(*), 4) AS no_show_rate
FROM tokens
WHERE status IN ('NO_SHOW', 'CHECKED_IN', 'CALLED', 'COMPLETED')
GROUP BY facility_id, department_id, date, source;

COMMENT ON VIEW no_show_rates IS 'Of those with a seat of whom it is known whether they came: how many did not. By date and class.';

CREATE VIEW waits_by_class AS
SELECT facility_id, department_id, date, source,
    count(*) AS called,
    round(percentile_cont(0.5) WITHIN GROUP (ORDER BY minutes)::numeric, 1) AS median_minutes,
    round(percentile_cont(0.9) WITHIN GROUP (ORDER BY minutes)::numeric, 1) AS p90_minutes,
    round(max(minutes)::numeric, 1) AS longest_minutes
FROM (
    SELECT facility_id, department_id, date, source, extract(epoch FROM called_at - checked_in_at) / 60 AS minutes
    FROM tokens
    WHERE called_at IS NOT NULL
) AS called
GROUP BY facility_id, department_id, date, source;

COMMENT ON VIEW waits_by_class IS 'Minutes between check-in and call of those who were called, by date and class.';

CREATE VIEW preemptions AS
SELECT lost.facility_id, lost.department_id, token.date, token.slot, lost.token_id, lost.source,
    lost.former_doctor_id AS lost_doctor_id, lost.reason, lost.by_token_id, lost.time AS lost_at,
    lost.waitlist_position, regained.time AS regained_at,
    round((extract(epoch FROM regained.time - lost.time) / 60)::numeric, 1) AS minutes_without
FROM token_events AS lost
JOIN tokens AS token USING (token_id)
LEFT JOIN LATERAL (
    SELECT later.time
    FROM token_events AS later
    WHERE later.token_id = lost.token_id AND later.sequence > lost.sequence AND later.type = 'TokenPromoted'
    ORDER BY later.sequence
    LIMIT 1
) AS regained ON true
WHERE lost.type = 'TokenPreempted';

COMMENT ON VIEW preemptions IS 'Every seat that was taken from a token: whose, why, for whom, and when it had one again.';

CREATE VIEW doctor_utilisation AS
SELECT facility_id, department_id, doctor_id, date,
    count(*) AS sessions,
    sum(capacity) AS capacity,
    sum(taken) AS taken,
    sum(seen) AS seen,
    sum(no_shows) AS no_shows,
    round(sum(taken) / nullif(sum(capacity), 0), 4) AS utilisation
FROM sessions
WHERE works AND available
GROUP BY facility_id, department_id, doctor_id, date;

COMMENT ON VIEW doctor_utilisation IS 'Seats taken of those there were, by doctor and date, in the sessions that the doctor held.';

COMMENT ON COLUMN doctor_utilisation.utilisation IS 'taken / capacity; over 1 where a capacity was lowered below what was taken.';

CREATE VIEW daily_numbers AS
SELECT facility_id, department_id, date,
    count(*) AS tokens,
    count(*) FILTER (WHERE source = 'EMERGENCY') AS emergencies,
    count(*) FILTER (WHERE status = 'WAITLISTED') AS waiting,
    count(*) FILTER (WHERE status IN ('CONFIRMED', 'CHECKED_IN')) AS to_be_called,
    count(*) FILTER (WHERE status IN ('CALLED', 'COMPLETED')) AS seen,
    count(*) FILTER (WHERE status = 'CANCELLED') AS cancelled,
    count(*) FILTER (WHERE status = 'NO_SHOW') AS no_shows,
    count(*) FILTER (WHERE status = 'EXPIRED') AS expired,
    sum(times_preempted) AS preemptions
FROM tokens
GROUP BY facility_id, department_id, date;

COMMENT ON VIEW daily_numbers IS 'What became of the tokens of a department and date.';

-- What was said, each event once, in the tables; whatever follows from it, in views: nothing to count wrong.
-- There are no foreign keys: the order of the log is what makes these rows fit together.

CREATE TABLE positions (
    partition integer PRIMARY KEY,
    topic text NOT NULL,
    next_offset bigint NOT NULL,
    last_digest bytea,
    command_offset bigint NOT NULL,
    n integer NOT NULL
);

COMMENT ON TABLE positions IS 'How far the events topic is kept here: written in the transaction of the rows.';

COMMENT ON COLUMN positions.next_offset IS 'The record of the events topic to go on with.';

COMMENT ON COLUMN positions.last_digest IS 'BLAKE2b of the record before that, by which the log is known again.';

COMMENT ON COLUMN positions.command_offset IS 'The last event kept is number n of the command at this offset; all before it are kept too.';

CREATE TABLE departments (
    facility_id text,
    department_id text,
    partition integer NOT NULL,
    sequence bigint NOT NULL,
    command_offset bigint NOT NULL,
    n integer NOT NULL,
    digest text NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (facility_id, department_id)
);

COMMENT ON TABLE departments IS 'Every department that was ever heard of, and its last event.';

COMMENT ON COLUMN departments.day IS 'The latest UTC day so far: what is today for its decisions (R3).';

CREATE TABLE token_events (
    partition integer,
    command_offset bigint,
    n integer,
    facility_id text NOT NULL,
    department_id text NOT NULL,
    sequence bigint NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    causation_id text NOT NULL,
    correlation_id text,
    traceparent text,
    token_id text NOT NULL,
    source text NOT NULL,
    status text NOT NULL,
    doctor_id text,
    reason text,
    former_doctor_id text,
    former_source text,
    by_token_id text,
    waitlist_position integer,
    PRIMARY KEY (partition, command_offset, n)
);

CREATE INDEX token_events_of_a_token ON token_events (token_id);

CREATE INDEX token_events_by_cause ON token_events USING hash (causation_id) WHERE n = 0;

COMMENT ON TABLE token_events IS 'The whole story of every token: the token as it stood after each event.';

COMMENT ON COLUMN token_events.n IS 'Which event, from 0, of the command at command_offset; the event''s id is {partition}-{command_offset}-{n}.';

COMMENT ON COLUMN token_events.sequence IS 'The department''s running event number.';

COMMENT ON COLUMN token_events.type IS 'TokenConfirmed, TokenPreempted, …';

COMMENT ON COLUMN token_events.time IS 'The timestamp of the command''s record.';

COMMENT ON COLUMN token_events.causation_id IS 'The id of the command.';

COMMENT ON COLUMN token_events.former_doctor_id IS 'Whose seat was lost (TokenPreempted) or left (TokenReassigned).';

COMMENT ON COLUMN token_events.former_source IS 'The class that it was raised from (TokenUpgraded).';

COMMENT ON COLUMN token_events.by_token_id IS 'The emergency that it gave way to.';

CREATE TABLE rejections (
    partition integer,
    command_offset bigint,
    n integer,
    facility_id text NOT NULL,
    department_id text NOT NULL,
    sequence bigint NOT NULL,
    time timestamptz NOT NULL,
    causation_id text NOT NULL,
    correlation_id text,
    traceparent text,
    command_type text NOT NULL,
    reason text NOT NULL,
    token_id text,
    PRIMARY KEY (partition, command_offset, n)
);

CREATE INDEX rejections_of_a_token ON rejections (token_id) WHERE token_id IS NOT NULL;

CREATE INDEX rejections_by_cause ON rejections USING hash (causation_id);

COMMENT ON TABLE rejections IS 'Every command that was refused, and why.';

CREATE TABLE department_events (
    partition integer,
    command_offset bigint,
    n integer,
    facility_id text NOT NULL,
    department_id text NOT NULL,
    sequence bigint NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    causation_id text NOT NULL,
    correlation_id text,
    traceparent text,
    doctor_id text,
    date date,
    slot text,
    data jsonb NOT NULL,
    PRIMARY KEY (partition, command_offset, n)
);

CREATE INDEX department_events_by_cause ON department_events USING hash (causation_id) WHERE n = 0;

COMMENT ON TABLE department_events IS 'What happened to doctors and slots: DoctorRegistered, SlotCapacityChanged, DoctorAvailabilityChanged, SlotClosed.';

CREATE TABLE tokens (
    token_id text PRIMARY KEY,
    facility_id text NOT NULL,
    department_id text NOT NULL,
    date date NOT NULL,
    slot text NOT NULL,
    token_no integer NOT NULL,
    patient_id text NOT NULL,
    asked_as text NOT NULL,
    source text NOT NULL,
    status text NOT NULL,
    doctor_id text,
    sequence bigint NOT NULL,
    times_preempted integer NOT NULL,
    requested_at timestamptz,
    seated_at timestamptz,
    checked_in_at timestamptz,
    called_at timestamptz,
    ended_at timestamptz
) WITH (fillfactor = 80);

CREATE INDEX tokens_of_a_pool ON tokens (facility_id, department_id, date, slot);

CREATE INDEX tokens_of_a_patient ON tokens (patient_id);

COMMENT ON TABLE tokens IS 'Every token as it stands now.';

COMMENT ON COLUMN tokens.token_no IS 'Running number per department and date; who waits in a pool in one class is served in its order.';

COMMENT ON COLUMN tokens.patient_id IS 'Opaque: who that is, is not known here.';

COMMENT ON COLUMN tokens.asked_as IS 'The class of the request; source is the one it has now (R4a raises it).';

COMMENT ON COLUMN tokens.doctor_id IS 'With whom the seat is, or was last; null while it waits.';

COMMENT ON COLUMN tokens.sequence IS 'Of its last event.';

COMMENT ON COLUMN tokens.seated_at IS 'When it first had a seat.';

COMMENT ON COLUMN tokens.checked_in_at IS 'When the patient came; null: not yet, or never.';

COMMENT ON COLUMN tokens.ended_at IS 'When it became COMPLETED, CANCELLED, NO_SHOW or EXPIRED.';

CREATE TABLE registrations (
    facility_id text,
    department_id text,
    doctor_id text,
    sequence bigint,
    day date NOT NULL,
    time timestamptz NOT NULL,
    name text NOT NULL,
    schedule jsonb NOT NULL,
    PRIMARY KEY (facility_id, department_id, doctor_id, sequence)
);

COMMENT ON TABLE registrations IS 'Every schedule that a doctor ever had; each replaced the one before as a whole (R16).';

COMMENT ON COLUMN registrations.day IS 'The department''s day then; it counts for dates from the day before.';

CREATE TABLE session_settings (
    facility_id text,
    department_id text,
    date date,
    slot text,
    doctor_id text,
    capacity integer,
    available boolean,
    PRIMARY KEY (facility_id, department_id, date, slot, doctor_id)
);

COMMENT ON TABLE session_settings IS 'What was said of one doctor''s slot for one date alone; it outlives every registration (R17).';

COMMENT ON COLUMN session_settings.capacity IS 'That date''s own; null: the schedule''s.';

COMMENT ON COLUMN session_settings.available IS 'Null: nothing was said, the doctor is there.';

CREATE TABLE closed_pools (
    facility_id text,
    department_id text,
    date date,
    slot text,
    closed_at timestamptz NOT NULL,
    PRIMARY KEY (facility_id, department_id, date, slot)
);

COMMENT ON TABLE closed_pools IS 'The pools that grant nothing any more (R19).';

CREATE TABLE faults (
    partition integer,
    event_offset bigint,
    fault text NOT NULL,
    PRIMARY KEY (partition, event_offset)
);

COMMENT ON TABLE faults IS 'What in the events topic is not as it must be: events missed, or records that are none. Empty, if all is well.';

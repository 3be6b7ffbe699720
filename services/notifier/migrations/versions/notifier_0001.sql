-- No table here holds a name, an address or a text: whom a message is for is an opaque id, and what it says is made
-- when it is sent.

CREATE TABLE positions (
    partition integer PRIMARY KEY,
    topic text NOT NULL,
    next_offset bigint NOT NULL,
    since timestamptz NOT NULL
);

COMMENT ON TABLE positions IS 'How far the events topic is taken: written in the transaction of the messages.';

COMMENT ON COLUMN positions.since IS 'When this notifier began: of what happened before, nobody is told.';

CREATE TABLE departments (
    department text PRIMARY KEY,
    partition integer NOT NULL,
    last jsonb NOT NULL
);

COMMENT ON TABLE departments IS 'The last event of each department, by which repeats are known.';

CREATE TABLE doctors (
    department text,
    doctor_id text,
    name text NOT NULL,
    PRIMARY KEY (department, doctor_id)
);

CREATE TABLE present (
    token_id text PRIMARY KEY,
    patient_id text NOT NULL,
    department text NOT NULL,
    doctor_id text NOT NULL,
    date date NOT NULL,
    slot text NOT NULL,
    class integer NOT NULL,
    token_no integer NOT NULL,
    told_soon boolean NOT NULL DEFAULT false
);

CREATE INDEX present_in_a_session ON present (department, doctor_id, date, slot);

COMMENT ON TABLE present IS 'Who has a seat, is there and was not called: in the order of class and number.';

CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL,
    kind text NOT NULL,
    facility_id text NOT NULL,
    patient_id text NOT NULL,
    token_id text NOT NULL,
    sequence bigint NOT NULL,
    said_at timestamptz NOT NULL,
    about jsonb NOT NULL,
    state text NOT NULL DEFAULT 'DUE',
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    attempts integer NOT NULL DEFAULT 0,
    repeated boolean NOT NULL DEFAULT false,
    channel text,
    ended_at timestamptz,
    UNIQUE (event_id, token_id, kind)
);

CREATE INDEX messages_under_way ON messages (token_id) WHERE state IN ('DUE', 'SENDING');

CREATE INDEX messages_due ON messages (not_before, id) WHERE state = 'DUE';

COMMENT ON TABLE messages IS 'Each message to a patient, once for each event.';

COMMENT ON COLUMN messages.state IS 'DUE, SENDING, SENT, DEAD, or why it was not sent: OVERTAKEN, NO_CONTACT, NO_CONSENT, NO_CHANNEL, TOO_LATE.';

COMMENT ON COLUMN messages.repeated IS 'It was on its way once when the notifier was killed.';

CREATE TABLE dead_letters (
    message_id bigint PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    channel text,
    fault text NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE dead_letters IS 'Messages that no channel took; opd notifier resend gives them another chance.'

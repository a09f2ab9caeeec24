-- A control schema of layout 2, as a dump of it: one job is running on a server that is gone, one waits, one is done.
CREATE SCHEMA _rowcast;
CREATE TABLE _rowcast.control_arrival (
    sync text NOT NULL,
    parent text NOT NULL
);
CREATE TABLE _rowcast.control_job (
    id bigint NOT NULL,
    sync text NOT NULL,
    source text NOT NULL,
    trigger text NOT NULL,
    due_at timestamp with time zone NOT NULL,
    request text NOT NULL,
    status text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    began boolean DEFAULT false NOT NULL,
    owner text,
    lease_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    outcome text,
    run bigint,
    error text,
    CONSTRAINT control_job_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text])))
);
ALTER TABLE _rowcast.control_job ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME _rowcast.control_job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE _rowcast.control_layout (
    version integer NOT NULL
);
CREATE TABLE _rowcast.control_schedule (
    sync text NOT NULL,
    until timestamp with time zone NOT NULL
);
CREATE TABLE _rowcast.control_token (
    id bigint NOT NULL,
    name text NOT NULL,
    hash text NOT NULL,
    scope text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT control_token_scope_check CHECK ((scope = ANY (ARRAY['read'::text, 'run'::text, 'write'::text, 'admin'::text])))
);
ALTER TABLE _rowcast.control_token ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME _rowcast.control_token_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO _rowcast.control_arrival VALUES ('report', 'orders');
INSERT INTO _rowcast.control_job OVERRIDING SYSTEM VALUE VALUES (1, 'orders', 'shop', 'schedule', '2026-11-01 06:00:00+00', '{"full":false,"keys":[],"limit":null,"override":[],"wait":false}', 'running', 1, true, 'elsewhere:1:1', '2026-11-01 06:00:15+00', '2026-11-01 06:00:00+00', '2026-11-01 06:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO _rowcast.control_job OVERRIDING SYSTEM VALUE VALUES (2, 'items', 'shop', 'api', '2026-11-01 06:00:01+00', '{"full":true}', 'queued', 0, false, NULL, NULL, '2026-11-01 06:00:01+00', NULL, NULL, NULL, NULL, NULL);
INSERT INTO _rowcast.control_job OVERRIDING SYSTEM VALUE VALUES (3, 'orders', 'shop', 'schedule', '2026-11-01 05:00:00+00', '{}', 'done', 1, false, 'elsewhere:1:1', '2026-11-01 05:00:15+00', '2026-11-01 05:00:00+00', '2026-11-01 05:00:00+00', '2026-11-01 05:00:02+00', 'succeeded', 7, NULL);
INSERT INTO _rowcast.control_layout VALUES (2);
INSERT INTO _rowcast.control_schedule VALUES ('orders', '2026-11-01 06:00:00+00');
INSERT INTO _rowcast.control_token OVERRIDING SYSTEM VALUE VALUES (1, 'first', 'abc123', 'admin', '2026-11-01 05:00:00+00', NULL, NULL);
SELECT pg_catalog.setval('_rowcast.control_job_id_seq', 3, true);
SELECT pg_catalog.setval('_rowcast.control_token_id_seq', 1, true);
ALTER TABLE ONLY _rowcast.control_arrival
    ADD CONSTRAINT control_arrival_pkey PRIMARY KEY (sync, parent);
ALTER TABLE ONLY _rowcast.control_job
    ADD CONSTRAINT control_job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY _rowcast.control_schedule
    ADD CONSTRAINT control_schedule_pkey PRIMARY KEY (sync);
ALTER TABLE ONLY _rowcast.control_token
    ADD CONSTRAINT control_token_hash_key UNIQUE (hash);
ALTER TABLE ONLY _rowcast.control_token
    ADD CONSTRAINT control_token_pkey PRIMARY KEY (id);
CREATE INDEX control_job_finished ON _rowcast.control_job USING btree (finished_at) WHERE (status = 'done'::text);
CREATE UNIQUE INDEX control_job_queued ON _rowcast.control_job USING btree (sync) WHERE (status = 'queued'::text);
CREATE UNIQUE INDEX control_job_running ON _rowcast.control_job USING btree (sync) WHERE (status = 'running'::text);

-- Layout 3.
ALTER TABLE _rowcast.control_job
   -- Whether alerts have taken note of its end. What ended before there were alerts is past.
   ADD COLUMN told boolean NOT NULL DEFAULT true;
ALTER TABLE _rowcast.control_job ALTER COLUMN told SET DEFAULT false;
CREATE INDEX control_job_untold ON _rowcast.control_job (sync) WHERE status = 'done' AND NOT told;
CREATE INDEX control_job_of_sync ON _rowcast.control_job (sync, id);
CREATE TABLE _rowcast.control_watch (
   sync text PRIMARY KEY,
   -- Rises with every move: who looked at an older one has lost.
   version bigint NOT NULL,
   -- What is open and what was told, as JSON.
   state text NOT NULL,
   changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE _rowcast.control_mute (
   sync text PRIMARY KEY,
   until timestamptz NOT NULL
);
CREATE TABLE _rowcast.control_message (
   id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
   project text NOT NULL,
   message_id text NOT NULL,
   channel text NOT NULL,
   subject text NOT NULL,
   body text NOT NULL,
   status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'given up')),
   attempt int NOT NULL DEFAULT 0,
   -- The next attempt; while one is made, the end of its lease.
   due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
   created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
   ended_at timestamptz,
   error text,
   UNIQUE (message_id, channel)
);
CREATE INDEX control_message_waiting ON _rowcast.control_message (project, channel, subject, id)
   WHERE status = 'waiting';
CREATE TABLE _rowcast.control_event (
   hook text NOT NULL,
   event text NOT NULL,
   at timestamptz NOT NULL DEFAULT clock_timestamp(),
   PRIMARY KEY (hook, event)
);
UPDATE _rowcast.control_layout SET version = 3;
INSERT INTO _rowcast.control_watch (sync, version, state)
  VALUES ('orders', 4, '{"since_us":1,"seen_run":7,"conditions":{"failed":{"open":true,"told":true,"episode":1,"since_us":1,"told_us":1,"reminders":0,"cause":{"text":"run 7 failed","run":7}}}}');

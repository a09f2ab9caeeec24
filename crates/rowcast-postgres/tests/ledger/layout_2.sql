-- The state schema of layout_1.sql one layout later: what was delivered has neither run nor mark, and the
-- intent that was cut off is acknowledged as a whole, but not folded.
CREATE SCHEMA _rowcast;
CREATE TABLE _rowcast.doubt_1 (
    k1 bigint NOT NULL,
    op "char" NOT NULL,
    run integer NOT NULL
);
CREATE TABLE _rowcast.doubt_2 (
    k1 text NOT NULL COLLATE pg_catalog."C",
    op "char" NOT NULL,
    run integer NOT NULL
);
CREATE TABLE _rowcast.frozen_1 (
    k1 bigint NOT NULL,
    rows bigint NOT NULL
);
CREATE TABLE _rowcast.frozen_2 (
    k1 text NOT NULL COLLATE pg_catalog."C",
    rows bigint NOT NULL
);
CREATE TABLE _rowcast.intent_1 (
    epoch bigint NOT NULL,
    intent bigint NOT NULL,
    run integer NOT NULL,
    ops text NOT NULL,
    hs bigint[] NOT NULL,
    ms text[],
    k1 bigint[] NOT NULL,
    acknowledged boolean DEFAULT false NOT NULL
);
ALTER TABLE ONLY _rowcast.intent_1 ALTER COLUMN hs SET STORAGE EXTERNAL;
ALTER TABLE ONLY _rowcast.intent_1 ALTER COLUMN k1 SET STORAGE EXTERNAL;
CREATE TABLE _rowcast.intent_2 (
    epoch bigint NOT NULL,
    intent bigint NOT NULL,
    run integer NOT NULL,
    ops text NOT NULL,
    hs bigint[] NOT NULL,
    ms text[],
    k1 text[] NOT NULL,
    acknowledged boolean DEFAULT false NOT NULL
);
ALTER TABLE ONLY _rowcast.intent_2 ALTER COLUMN hs SET STORAGE EXTERNAL;
ALTER TABLE ONLY _rowcast.intent_2 ALTER COLUMN k1 SET STORAGE EXTERNAL;
CREATE TABLE _rowcast.layout (
    version integer NOT NULL
);
CREATE TABLE _rowcast.progress (
    sync_id integer NOT NULL,
    rows bigint DEFAULT 0 NOT NULL,
    runs_since_check integer DEFAULT 0 NOT NULL,
    model_digest text,
    watermark text,
    full_diff_at timestamp with time zone,
    system_identifier text,
    timeline integer,
    wal_position text,
    base_run integer
);
CREATE TABLE _rowcast.reject_1 (
    k1 bigint NOT NULL,
    op "char" NOT NULL,
    h bigint,
    attempts integer NOT NULL,
    first_run integer NOT NULL,
    last_run integer NOT NULL,
    first_at timestamp with time zone NOT NULL,
    forced boolean DEFAULT false NOT NULL,
    code text NOT NULL,
    message text NOT NULL
);
CREATE TABLE _rowcast.reject_2 (
    k1 text NOT NULL COLLATE pg_catalog."C",
    op "char" NOT NULL,
    h bigint,
    attempts integer NOT NULL,
    first_run integer NOT NULL,
    last_run integer NOT NULL,
    first_at timestamp with time zone NOT NULL,
    forced boolean DEFAULT false NOT NULL,
    code text NOT NULL,
    message text NOT NULL
);
CREATE TABLE _rowcast.row_history (
    run bigint NOT NULL,
    sync_id integer NOT NULL,
    key text NOT NULL,
    change text NOT NULL,
    operation text,
    outcome text NOT NULL,
    code text,
    message text,
    idempotency_key text,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE _rowcast.sync (
    id integer NOT NULL,
    uuid text NOT NULL,
    name text NOT NULL,
    identity jsonb NOT NULL,
    seed_random bigint NOT NULL,
    generation integer DEFAULT 1 NOT NULL,
    backfill integer DEFAULT 0 NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    lease_owner text,
    lease_until timestamp with time zone,
    cancel_epoch bigint,
    paused boolean DEFAULT false NOT NULL,
    plan jsonb,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE VIEW _rowcast.row_log AS
 SELECT l.at,
    l.run,
    s.name AS sync,
    l.key,
    l.change,
    l.operation,
    l.outcome,
    l.code,
    l.message,
    l.idempotency_key
   FROM (_rowcast.row_history l
     JOIN _rowcast.sync s ON ((s.id = l.sync_id)));
CREATE TABLE _rowcast.run_history (
    run bigint NOT NULL,
    sync_id integer NOT NULL,
    generation integer NOT NULL,
    epoch bigint NOT NULL,
    trigger text NOT NULL,
    status text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    duration_us bigint,
    read bigint,
    unchanged bigint,
    added bigint,
    updated bigint,
    removed bigint,
    retried bigint,
    retried_present bigint,
    invalid_keys bigint,
    delivered bigint,
    skipped bigint,
    invalid bigint,
    rejected bigint,
    held bigint,
    pending bigint,
    requests bigint,
    retries bigint,
    spool_bytes bigint,
    removals_done bigint DEFAULT 0 NOT NULL,
    error_code text,
    error_message text,
    error_detail text,
    error_hint text,
    reasons jsonb,
    guards jsonb,
    overrides text[],
    digest text,
    notes text[],
    phases jsonb
);
ALTER TABLE _rowcast.run_history ALTER COLUMN run ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME _rowcast.run_history_run_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE VIEW _rowcast.runs AS
 SELECT r.run,
    s.name AS sync,
    r.trigger,
    r.status,
    r.started_at,
    r.finished_at,
    r.duration_us,
    r.read,
    r.unchanged,
    r.added,
    r.updated,
    r.removed,
    r.retried,
    r.invalid_keys,
    r.delivered,
    r.skipped,
    r.invalid,
    r.rejected,
    r.held,
    r.pending,
    r.requests,
    r.retries,
    r.spool_bytes,
    r.error_code,
    r.error_message,
    r.error_detail,
    r.error_hint,
    r.reasons,
    r.guards,
    r.overrides,
    r.notes,
    r.phases
   FROM (_rowcast.run_history r
     JOIN _rowcast.sync s ON ((s.id = r.sync_id)));
CREATE TABLE _rowcast.sent_1 (
    k1 bigint NOT NULL,
    sent text NOT NULL
);
CREATE TABLE _rowcast.sent_2 (
    k1 text NOT NULL COLLATE pg_catalog."C",
    sent text NOT NULL
);
CREATE TABLE _rowcast.state_1 (
    k1 bigint NOT NULL,
    h bigint,
    run integer,
    mark "char",
    m text
)
WITH (fillfactor='90', autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');
CREATE TABLE _rowcast.state_2 (
    k1 text NOT NULL COLLATE pg_catalog."C",
    h bigint,
    run integer,
    mark "char",
    m text
)
WITH (fillfactor='90', autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');
ALTER TABLE _rowcast.sync ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME _rowcast.sync_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.customers (
    id bigint NOT NULL,
    name text,
    plan text
);
CREATE TABLE public.words (
    word text NOT NULL,
    name text,
    plan text
);
INSERT INTO _rowcast.doubt_1 VALUES (4, 'p', 1);
INSERT INTO _rowcast.intent_1 VALUES (2, 1, 2, 'p', '{1042898592802285718}', '{NULL}', '{9}', true);
INSERT INTO _rowcast.layout VALUES (2);
INSERT INTO _rowcast.progress VALUES (2, 2, 0, 'a4caca10cb26931ca2af40bf1a06db3b', NULL, '2026-11-21 08:35:38.33289+00', NULL, NULL, NULL, NULL);
INSERT INTO _rowcast.progress VALUES (1, 8, 0, 'd4274387a2c814a2d462820113fc2d4c', NULL, NULL, NULL, NULL, NULL, 1);
INSERT INTO _rowcast.reject_1 VALUES (3, 'p', -629640373678484179, 1, 1, 1, '2026-11-21 08:35:37.969423+00', false, 'E0603', 'invalid email');
INSERT INTO _rowcast.row_history VALUES (1, 1, '[2]', 'added', 'upsert', 'delivered', NULL, NULL, NULL, '2026-11-21 08:35:37.965496+00');
INSERT INTO _rowcast.row_history VALUES (1, 1, '[5]', 'added', 'upsert', 'delivered', NULL, NULL, NULL, '2026-11-21 08:35:37.965646+00');
INSERT INTO _rowcast.row_history VALUES (1, 1, '[8]', 'added', 'upsert', 'delivered', NULL, NULL, NULL, '2026-11-21 08:35:37.965651+00');
INSERT INTO _rowcast.row_history VALUES (1, 1, '[6]', 'added', 'upsert', 'delivered', NULL, NULL, NULL, '2026-11-21 08:35:37.967035+00');
INSERT INTO _rowcast.row_history VALUES (1, 1, '[4]', 'added', 'upsert', 'unknown', 'E0611', 'no answer', NULL, '2026-11-21 08:35:37.967045+00');
INSERT INTO _rowcast.row_history VALUES (1, 1, '[1]', 'added', 'upsert', 'delivered', NULL, NULL, NULL, '2026-11-21 08:35:37.967048+00');
INSERT INTO _rowcast.row_history VALUES (1, 1, '[3]', 'added', 'upsert', 'rejected', 'E0603', 'invalid email', NULL, '2026-11-21 08:35:37.976783+00');
INSERT INTO _rowcast.row_history VALUES (1, 1, '[7]', 'added', 'upsert', 'delivered', NULL, NULL, NULL, '2026-11-21 08:35:37.976798+00');
INSERT INTO _rowcast.row_history VALUES (3, 2, '["two"]', 'added', 'insert', 'delivered', NULL, NULL, NULL, '2026-11-21 08:35:38.154721+00');
INSERT INTO _rowcast.row_history VALUES (3, 2, '["one"]', 'added', 'insert', 'delivered', NULL, NULL, NULL, '2026-11-21 08:35:38.154797+00');
INSERT INTO _rowcast.row_history VALUES (4, 2, '["two"]', 'removed', NULL, 'skipped', NULL, NULL, NULL, '2026-11-21 08:35:38.330409+00');
INSERT INTO _rowcast.run_history OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 1, 'test', 'succeeded', '2026-11-21 08:35:37.917582+00', '2026-11-21 08:35:37.977343+00', 0, 8, 0, 8, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 1, 0, 0, 0, 0, NULL, NULL, NULL, NULL, '[]', '[]', '{}', '9635f85bccff8ad9dbc86667cbcb3804', '{}', '[]');
INSERT INTO _rowcast.run_history OVERRIDING SYSTEM VALUE VALUES (2, 1, 1, 2, 'test', 'running', '2026-11-21 08:35:38.017725+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO _rowcast.run_history OVERRIDING SYSTEM VALUE VALUES (3, 2, 1, 1, 'test', 'succeeded', '2026-11-21 08:35:38.106236+00', '2026-11-21 08:35:38.160002+00', 0, 2, 0, 2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, '[]', '[]', '{}', '57cb4fd7b9a7029c7bf4287211e19c4b', '{}', '[]');
INSERT INTO _rowcast.run_history OVERRIDING SYSTEM VALUE VALUES (4, 2, 1, 2, 'test', 'succeeded', '2026-11-21 08:35:38.205267+00', '2026-11-21 08:35:38.331088+00', 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, NULL, NULL, NULL, NULL, '[]', '[]', '{}', 'b811dccec9b7a66bbf5d77f7ed5d4f21', '{}', '[]');
INSERT INTO _rowcast.state_1 VALUES (4, NULL, NULL, 'n', NULL);
INSERT INTO _rowcast.state_1 VALUES (2, -2882023986605605320, NULL, NULL, NULL);
INSERT INTO _rowcast.state_1 VALUES (5, 4518164212301648217, NULL, NULL, NULL);
INSERT INTO _rowcast.state_1 VALUES (8, 6918487248843034698, NULL, NULL, NULL);
INSERT INTO _rowcast.state_1 VALUES (6, -4430573060673915690, NULL, NULL, NULL);
INSERT INTO _rowcast.state_1 VALUES (1, -7873875854607106348, NULL, NULL, NULL);
INSERT INTO _rowcast.state_1 VALUES (7, -5986189996359170492, NULL, NULL, NULL);
INSERT INTO _rowcast.state_2 VALUES ('two', 6809200389924468118, 4, 't', NULL);
INSERT INTO _rowcast.state_2 VALUES ('one', -5612664692212191371, 3, NULL, NULL);
INSERT INTO _rowcast.sync OVERRIDING SYSTEM VALUE VALUES (1, '01a1fd3f-2b29-730b-a1ca-ccb0d3348629', 'customers_to_crm', '{"destination": "crm", "primary key": "id bigint"}', 2492558470728925853, 1, 0, 2, 'elsewhere:1:1', '2026-11-21 08:35:41.011356+00', NULL, false, '{"on": [true, true, true], "mode": "mirror", "seed": 8862866875298927855, "columns": [{"form": "(m.\"name\" COLLATE \"C\")", "name": "name", "type_name": "text"}, {"form": "(m.\"plan\" COLLATE \"C\")", "name": "plan", "type_name": "text"}], "digests": {"name": "column name", "plan": "column plan"}, "backfill": 0, "time_zone": "UTC"}', '2026-11-21 08:35:37.897268+00');
INSERT INTO _rowcast.sync OVERRIDING SYSTEM VALUE VALUES (2, '01a1fd3f-2bee-7324-be3b-e43bd03f1030', 'words_to_crm', '{"destination": "crm", "primary key": "word text COLLATE \"C\""}', -2300094785479096608, 1, 0, 2, NULL, NULL, NULL, false, '{"on": [true, true, true], "mode": "insert", "seed": 5315692691858228240, "columns": [{"form": "(m.\"name\" COLLATE \"C\")", "name": "name", "type_name": "text"}, {"form": "(m.\"plan\" COLLATE \"C\")", "name": "plan", "type_name": "text"}], "digests": {"name": "column name", "plan": "column plan"}, "backfill": 0, "time_zone": "UTC"}', '2026-11-21 08:35:38.095206+00');
INSERT INTO public.customers VALUES (1, 'name 1', 'plan');
INSERT INTO public.customers VALUES (2, 'name 2', 'plan');
INSERT INTO public.customers VALUES (3, 'name 3', 'plan');
INSERT INTO public.customers VALUES (4, 'name 4', 'plan');
INSERT INTO public.customers VALUES (5, 'name 5', 'plan');
INSERT INTO public.customers VALUES (6, 'name 6', 'plan');
INSERT INTO public.customers VALUES (7, 'name 7', 'plan');
INSERT INTO public.customers VALUES (8, 'name 8', 'plan');
INSERT INTO public.customers VALUES (9, 'name 9', 'plan');
INSERT INTO public.customers VALUES (10, 'name 10', 'plan');
INSERT INTO public.words VALUES ('one', 'n1', 'p1');
SELECT pg_catalog.setval('_rowcast.run_history_run_seq', 4, true);
SELECT pg_catalog.setval('_rowcast.sync_id_seq', 2, true);
ALTER TABLE ONLY _rowcast.doubt_1
    ADD CONSTRAINT doubt_1_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.doubt_2
    ADD CONSTRAINT doubt_2_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.frozen_1
    ADD CONSTRAINT frozen_1_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.frozen_2
    ADD CONSTRAINT frozen_2_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.intent_1
    ADD CONSTRAINT intent_1_pkey PRIMARY KEY (epoch, intent);
ALTER TABLE ONLY _rowcast.intent_2
    ADD CONSTRAINT intent_2_pkey PRIMARY KEY (epoch, intent);
ALTER TABLE ONLY _rowcast.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (sync_id);
ALTER TABLE ONLY _rowcast.reject_1
    ADD CONSTRAINT reject_1_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.reject_2
    ADD CONSTRAINT reject_2_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.run_history
    ADD CONSTRAINT run_history_pkey PRIMARY KEY (run);
ALTER TABLE ONLY _rowcast.sent_1
    ADD CONSTRAINT sent_1_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.sent_2
    ADD CONSTRAINT sent_2_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.state_1
    ADD CONSTRAINT state_1_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.state_2
    ADD CONSTRAINT state_2_pkey PRIMARY KEY (k1);
ALTER TABLE ONLY _rowcast.sync
    ADD CONSTRAINT sync_name_key UNIQUE (name);
ALTER TABLE ONLY _rowcast.sync
    ADD CONSTRAINT sync_pkey PRIMARY KEY (id);
ALTER TABLE ONLY _rowcast.sync
    ADD CONSTRAINT sync_uuid_key UNIQUE (uuid);
ALTER TABLE ONLY public.customers
    ADD CONSTRAINT customers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.words
    ADD CONSTRAINT words_pkey PRIMARY KEY (word);
CREATE INDEX row_history_key ON _rowcast.row_history USING btree (sync_id, key);
CREATE INDEX row_history_run ON _rowcast.row_history USING btree (run);
CREATE INDEX run_history_sync ON _rowcast.run_history USING btree (sync_id, run DESC);
CREATE INDEX state_1_m_idx ON _rowcast.state_1 USING btree (m) WHERE (m IS NOT NULL);
CREATE INDEX state_2_m_idx ON _rowcast.state_2 USING btree (m) WHERE (m IS NOT NULL);
ALTER TABLE ONLY _rowcast.progress
    ADD CONSTRAINT progress_sync_id_fkey FOREIGN KEY (sync_id) REFERENCES _rowcast.sync(id) ON DELETE CASCADE;
ALTER TABLE ONLY _rowcast.row_history
    ADD CONSTRAINT row_history_sync_id_fkey FOREIGN KEY (sync_id) REFERENCES _rowcast.sync(id) ON DELETE CASCADE;
ALTER TABLE ONLY _rowcast.run_history
    ADD CONSTRAINT run_history_sync_id_fkey FOREIGN KEY (sync_id) REFERENCES _rowcast.sync(id) ON DELETE CASCADE;

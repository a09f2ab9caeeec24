-- What the model reads.
CREATE TABLE users (user_id int PRIMARY KEY, email text, plan text);
INSERT INTO users VALUES
  (1, 'ada@example.com', 'pro'),
  (2, 'grace@example.com', 'pro'),
  (3, 'alan@example.com', 'free'),
  (4, 'edsger@example.com', 'pro');

-- What RudderStack left behind: user 2 had another plan then, user 3 failed, user 4 is new.
CREATE SCHEMA _rudderstack;
CREATE TABLE _rudderstack."SNAPSHOT_2pQ_run7" ("USER_ID" int, "EMAIL" text, "PLAN" text, "RUDDER_OPERATION_TYPE" text);
INSERT INTO _rudderstack."SNAPSHOT_2pQ_run7" VALUES
  (1, 'ada@example.com', 'pro', 'unchanged'),
  (2, 'grace@example.com', 'free', 'unchanged'),
  (3, 'alan@example.com', 'free', 'update');
CREATE TABLE _rudderstack."FAILED_KEYS_2pQ_run7" ("USER_ID" text, "_RUDDER_ID" text, "RUDDER_OPERATION" text, "RUDDER_INVALID" boolean);
INSERT INTO _rudderstack."FAILED_KEYS_2pQ_run7" VALUES ('3', 'x', 'update', false);

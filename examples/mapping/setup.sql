CREATE TABLE people (
  id int PRIMARY KEY,
  first_name text, last_name text, email text, plan text,
  spent numeric(10, 2), city text, country text, mobile text, home text,
  last_seen timestamptz
);
INSERT INTO people VALUES
  (1, 'Ada', 'Lovelace', ' Ada@Example.com', 'pro', 1250.10, 'London', 'gb', '+44 1', '+44 2', '2026-11-21 12:00+00'),
  (2, 'Grace', 'Hopper', 'grace@example.com', NULL, 0.30, 'New York', 'us', NULL, '+1 3', NULL);

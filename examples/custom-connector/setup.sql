CREATE TABLE people (
  id int PRIMARY KEY,
  email text,
  first_name text NOT NULL,
  last_name text NOT NULL,
  plan text,
  credits int,
  created_at timestamptz NOT NULL
);
INSERT INTO people VALUES
  (1, 'ada@example.com', 'Ada', 'Lovelace', 'pro', 120, '2024-02-29 12:30:00Z'),
  (2, 'grace@example.com', 'Grace', 'Hopper', 'free', 0, '2024-03-01 08:00:00Z'),
  (3, 'not an address', 'Alan', 'Turing', 'free', 7, '2024-03-02 09:15:00Z');

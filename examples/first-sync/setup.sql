CREATE TABLE customers (
  id int PRIMARY KEY,
  name text NOT NULL,
  email text
);
INSERT INTO customers VALUES
  (1, 'Ada Lovelace', 'Ada@Example.com'),
  (2, 'Grace Hopper', 'grace@example.com'),
  (3, 'Edsger Dijkstra', NULL);

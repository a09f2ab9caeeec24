CREATE TABLE customers (id int PRIMARY KEY, email text, plan text);
INSERT INTO customers SELECT n, 'c' || n || '@example.com', 'free' FROM generate_series(1, 100) n;
UPDATE customers SET plan = 'gold' WHERE id IN (7, 42);

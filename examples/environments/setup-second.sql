CREATE TABLE orders (id int PRIMARY KEY, total numeric(10, 2) NOT NULL);
INSERT INTO orders SELECT n, n * 1.5 FROM generate_series(1, 500) n;

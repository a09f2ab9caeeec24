CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL);
CREATE TABLE orders (
  id int PRIMARY KEY,
  customer_id int NOT NULL REFERENCES customers,
  total numeric(10, 2) NOT NULL
);
INSERT INTO customers VALUES
  (1, 'ada@example.com'), (2, 'grace@example.com'), (3, 'not an address'), (4, 'alan@example.com');
INSERT INTO orders VALUES (1, 1, 20.00), (2, 1, 5.50), (3, 2, 99.90);

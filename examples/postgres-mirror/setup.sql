CREATE TABLE products (
  sku text PRIMARY KEY,
  name text NOT NULL,
  price numeric(10, 2),
  draft boolean NOT NULL DEFAULT false
);
INSERT INTO products VALUES
  ('A-1', 'Teapot', 24.50, false), ('A-2', 'Cup', 6.00, false),
  ('A-3', 'Saucer', 4.25, false), ('B-1', 'Samovar', NULL, true);

//! The sample shop: 100,000 customers with orders, made by SQL, the same every time.

/// Customers at the start.
pub(crate) const CUSTOMERS: u64 = 100_000;

/// Customers without an e-mail address, which the CRM refuses.
pub(crate) const WITHOUT_EMAIL: u64 = 3;

/// What the second act changes.
pub(crate) const ORDERED: u64 = 1_200;
pub(crate) const JOINED: u64 = 40;
pub(crate) const LEFT: u64 = 25;

/// Tables, rows and the role that Rowcast uses. `password` is hexadecimal, so it needs no quoting.
pub(crate) fn load(password: &str) -> String {
    format!(
        "CREATE ROLE rowcast LOGIN PASSWORD '{password}';
GRANT CONNECT, CREATE ON DATABASE shop TO rowcast;

CREATE TABLE customers (
  id bigint PRIMARY KEY, email text, first_name text NOT NULL, last_name text NOT NULL,
  plan text NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE orders (
  id bigint PRIMARY KEY, customer_id bigint NOT NULL, total numeric(10,2) NOT NULL,
  ordered_at timestamptz NOT NULL);

CREATE FUNCTION customer(n bigint) RETURNS customers LANGUAGE sql IMMUTABLE AS $$
  SELECT n,
    CASE WHEN n IN (7, 4711, 31415) THEN NULL ELSE 'customer' || n || '@example.com' END,
    (ARRAY['Ada','Grace','Edsger','Barbara','Alan','Radia','Donald','Frances'])[1 + n % 8],
    (ARRAY['Lovelace','Hopper','Dijkstra','Liskov','Turing','Perlman','Knuth','Allen'])[1 + n / 8 % 8],
    (ARRAY['free','free','plus','pro'])[1 + n % 4],
    timestamptz '2024-01-01 00:00:00+00' + n * interval '7 minutes' $$;

INSERT INTO customers SELECT (customer(n)).* FROM generate_series(1, {CUSTOMERS}) n;
INSERT INTO orders
  SELECT n, 1 + (n * 7919) % {CUSTOMERS}, (100 + n * 37 % 20000) / 100.0,
         timestamptz '2025-01-01 00:00:00+00' + n * interval '1 minute'
  FROM generate_series(1, 250000) n;
CREATE INDEX ON orders (customer_id);
ANALYZE;
GRANT SELECT ON customers, orders TO rowcast;
"
    )
}

/// The second act: the shop goes on.
pub(crate) fn change() -> String {
    format!(
        "BEGIN;
INSERT INTO orders
  SELECT 1000000 + n, 100 + n * 50, 49.90, timestamptz '2026-01-01 00:00:00+00'
  FROM generate_series(1, {ORDERED}) n;
UPDATE customers SET email = 'found' || id || '@example.com' WHERE email IS NULL;
INSERT INTO customers SELECT (customer(n)).* FROM generate_series({CUSTOMERS} + 1, {CUSTOMERS} + {JOINED}) n;
DELETE FROM customers WHERE id BETWEEN 90001 AND 90000 + {LEFT};
COMMIT;
"
    )
}

/// The model: a join, as people have it.
pub(crate) const MODEL: &str = "\
-- One row for each customer, with what they ordered so far.
SELECT c.id,
       c.email,
       c.first_name,
       c.last_name,
       c.plan,
       coalesce(o.orders, 0)  AS orders,
       coalesce(o.total, 0.00) AS total
FROM customers c
LEFT JOIN (SELECT customer_id, count(*) AS orders, sum(total) AS total
           FROM orders
           GROUP BY customer_id) o ON o.customer_id = c.id
";

/// What the CRM should hold in the end, in the form of [`super::crm::Crm::dump`].
pub(crate) const EXPECTED: &str = "\
SELECT c.id || ' ' || c.email || ' ' || c.first_name || ' ' || c.last_name || ' ' || c.plan
       || ' ' || coalesce(o.orders, 0) || ' ' || coalesce(o.total, 0.00)
FROM customers c
LEFT JOIN (SELECT customer_id, count(*) AS orders, sum(total) AS total
           FROM orders GROUP BY customer_id) o ON o.customer_id = c.id
ORDER BY c.id";

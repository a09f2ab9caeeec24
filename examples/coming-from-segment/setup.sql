-- What the model reads.
CREATE TABLE customers (id int PRIMARY KEY, email text, first_name text, plan text);
INSERT INTO customers VALUES
  (1, 'ada@example.com', 'Ada', 'pro'),
  (2, 'grace@example.com', 'Grace', 'free'),
  (3, 'alan@example.com', 'Alan', 'free'),
  (4, 'edsger@example.com', 'Edsger', 'pro'),
  (5, 'barbara@example.com', 'Barbara', 'pro');

-- What Segment left behind: customers 1 to 4, and 9, who is gone.
CREATE SCHEMA __segment_reverse_etl;
CREATE TABLE __segment_reverse_etl.records_sb1 (record_id text, checksum text);
INSERT INTO __segment_reverse_etl.records_sb1 VALUES ('1', 'a'), ('2', 'b'), ('3', 'c'), ('4', 'd'), ('9', 'e');

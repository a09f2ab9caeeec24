CREATE TABLE contacts (
  id int PRIMARY KEY,
  email text,
  plan text CONSTRAINT known_plan CHECK (plan IN ('free', 'pro'))
);

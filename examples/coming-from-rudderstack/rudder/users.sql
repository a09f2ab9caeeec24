SELECT user_id, email, plan FROM users

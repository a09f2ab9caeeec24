SELECT id, total FROM orders ORDER BY id DESC LIMIT ${var:newest}

"""A receiver on port 8080 that takes JSON lines and answers for each record. Standard library only."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        records = [json.loads(line) for line in body.splitlines()]
        results = []
        for record in records:
            if "@" in record["fields"]["email"]:
                results.append({"status": "ok"})
            else:
                results.append({"status": "error", "error": "email is not valid"})
        answer = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


HTTPServer(("127.0.0.1", 8080), Receiver).serve_forever()

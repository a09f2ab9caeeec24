"""A custom connector that keeps contacts in a JSON file: python3 connector.py [--stdio | PORT]"""
import http.server, json, os, sys, threading

FILE = os.environ.get("CONTACTS_FILE", "contacts.json")
TOKEN = os.environ.get("CONNECTOR_TOKEN")
LOCK = threading.Lock()

def field(name, kind="string", identifier=False, required=False):
    return {"field_api_name": name, "label": name.replace("_", " ").capitalize(), "type": kind, "array": False,
            "identifier": identifier, "required": required, "createable": True, "updateable": True}

FIELDS = [field("email", identifier=True, required=True), field("full_name", required=True),
          field("plan"), field("credits", "integer"), field("signed_up", "date")]

def problem(record):
    for f in FIELDS:
        value = record.get(f["field_api_name"])
        if value is None and f["required"]:
            return f["field_api_name"] + " is required"
        if value is not None and f["type"] == "integer" and not isinstance(value, int):
            return f["field_api_name"] + " is not a whole number"
    return None if "@" in record["email"] else "email is not an address"

def sync_batch(sync_plan, records, **_):
    operation, results = sync_plan["operation"], []
    with LOCK:
        contacts = json.load(open(FILE)) if os.path.exists(FILE) else {}
        for record in records:
            key = record.get("email")
            wrong = None if operation == "delete" else problem(record)
            wrong = wrong or ("no such contact" if operation == "update" and key not in contacts else None)
            if operation == "delete":
                contacts.pop(key, None)
            elif not wrong:
                contacts[key] = {**contacts.get(key, {}), **record}
            results.append({"identifier": key, "success": not wrong, "error_message": wrong})
        with open(FILE + ".new", "w") as file:  # durable before anything is acknowledged
            json.dump(contacts, file)
            file.flush(), os.fsync(file.fileno())
        os.replace(FILE + ".new", FILE)
    return {"record_results": results}

METHODS = {
    "test_connection": lambda **_: {"success": True},
    "list_objects": lambda **_: {"objects": [{"object_api_name": "contact", "label": "Contacts"}]},
    "supported_operations": lambda **_: {"operations": ["upsert", "update", "mirror"]},
    "list_fields": lambda **_: {"fields": FIELDS},
    "get_sync_speed": lambda **_: {"maximum_batch_size": 50, "maximum_parallel_batches": 2,
                                   "maximum_records_per_second": 5000},
    "sync_batch": sync_batch,
}

def answer(text):
    call = json.loads(text)
    reply = {"jsonrpc": "2.0", "id": call["id"]}
    if call["method"] not in METHODS:
        return json.dumps({**reply, "error": {"code": -32601, "message": "no such method"}})
    return json.dumps({**reply, "result": METHODS[call["method"]](**call["params"])})

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        allowed = not TOKEN or self.headers["Authorization"] == "Bearer " + TOKEN
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(answer(body).encode() if allowed else b"")

    def log_message(self, *_):
        pass

if "--stdio" in sys.argv:
    for line in sys.stdin:
        print(answer(line), flush=True)
else:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("http://127.0.0.1:%d/" % server.server_address[1], flush=True)
    server.serve_forever()

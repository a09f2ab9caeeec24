"""A custom connector that keeps contacts in a JSON file: python3 connector.py [--stdio | PORT]"""
import http.server, json, os, sys

FILE = os.environ.get("CONTACTS_FILE", "contacts.json")
TOKEN = os.environ.get("CONNECTOR_TOKEN")

def field(name, kind="string", key=False):
    return {"field_api_name": name, "label": name.replace("_", " "), "type": kind, "array": False,
            "identifier": key, "required": key, "createable": True, "updateable": True}

FIELDS = [field("email", key=True), field("full_name"), field("plan"), field("credits", "integer"), field("signed_up", "date")]

def sync_batch(params):
    contacts = json.load(open(FILE)) if os.path.exists(FILE) else {}
    results = []
    for record in params["records"]:
        key, wrong = record["email"], None
        if params["sync_plan"]["operation"] == "delete":
            contacts.pop(key, None)
        elif "@" in key:
            contacts[key] = {**contacts.get(key, {}), **record}
        else:
            wrong = "email is not an address"
        results.append({"identifier": key, "success": not wrong, "error_message": wrong})
    with open(FILE + ".new", "w") as file:
        json.dump(contacts, file)
        file.flush(), os.fsync(file.fileno())  # durable before anything is acknowledged
    os.replace(FILE + ".new", FILE)
    return {"record_results": results}

METHODS = {
    "test_connection": lambda _: {"success": True},
    "list_objects": lambda _: {"objects": [{"object_api_name": "contact", "label": "Contacts"}]},
    "supported_operations": lambda _: {"operations": ["upsert", "mirror"]},
    "list_fields": lambda _: {"fields": FIELDS},
    "get_sync_speed": lambda _: {"maximum_batch_size": 50, "maximum_parallel_batches": 2, "maximum_records_per_second": 5000},
    "sync_batch": sync_batch,
}

def answer(text):
    call = json.loads(text)
    method = METHODS.get(call["method"])
    told = {"result": method(call["params"])} if method else {"error": {"code": -32601, "message": "no such method"}}
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], **told})

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        allowed = not TOKEN or self.headers["Authorization"] == "Bearer " + TOKEN
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(answer(body).encode() if allowed else b"")

if "--stdio" in sys.argv:
    for line in sys.stdin:
        print(answer(line), flush=True)
else:
    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("http://127.0.0.1:%d/" % server.server_port, flush=True)
    server.serve_forever()

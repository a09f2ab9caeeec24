"""A custom connector for tests, over standard input and output. It keeps records in a JSON file, writes
down what it was asked, and does wrong what its arguments name. Trouble that is to happen once is a file in
its folder."""
import json, os, signal, sys

FOLDER, FAULTS = os.environ["DOUBLE_FOLDER"], set(sys.argv[1:])
HELD, ASKED = os.path.join(FOLDER, "held.json"), os.path.join(FOLDER, "asked.jsonl")
BATCHES = 0


def field(name, kind, **more):
    flags = {"array": False, "identifier": False, "required": False, "createable": True, "updateable": True}
    return {"field_api_name": name, "label": name, "type": kind, **flags, **more}


FIELDS = [
    field("id", "integer", identifier=True, required=True),
    field("email", "string"),
    field("plan", "string"),
    field("credits", "integer"),
    field("price", "decimal"),
    field("loaded_at", "date_time", createable=False, updateable=False),
]
if "needs-email" in FAULTS:
    FIELDS[1]["required"] = True
if "no-identifier" in FAULTS:
    FIELDS[0]["identifier"] = False
if "unknown-type" in FAULTS:
    FIELDS[3]["type"] = "number"


def once(name):
    """Whether the trouble of this name is due; its text, if so."""
    path = os.path.join(FOLDER, name)
    if not os.path.exists(path):
        return None
    text = open(path).read() or "now"
    os.remove(path)
    return text


def always(name):
    path = os.path.join(FOLDER, name)
    return open(path).read() if os.path.exists(path) else None


def load():
    return json.load(open(HELD)) if os.path.exists(HELD) else {}


def save(held):
    with open(HELD + ".new", "w") as file:
        json.dump(held, file)
    os.replace(HELD + ".new", HELD)


class Failure(Exception):
    def __init__(self, code, message, **data):
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


def one(operation, record, held):
    key = str(record["id"])
    if always("refused") == key:
        return "refused, as the test says"
    if operation == "delete":
        if "delete-once" in FAULTS and key not in held:
            return "there is no such record"
        held.pop(key, None)
        return None
    if "strict" in FAULTS and not isinstance(record.get("credits", 0), int):
        return "credits is not a whole number"
    held[key] = {name: value for name, value in record.items() if name != "id"}
    return None


def sync_batch(sync_plan, records, idempotency_keys):
    global BATCHES
    BATCHES += 1
    operation, held, results = sync_plan["operation"], load(), []
    assert len(idempotency_keys) == len(records)
    if always("revoked"):
        raise Failure(401, "no such token: " + os.environ.get("DOUBLE_SECRET", ""))
    if once("busy"):
        raise Failure(429, "slower", retry_after=0)
    if "small-batches" in FAULTS and len(records) > 3 and operation != "delete":
        raise Failure(-32000, "too many")
    if "all-or-nothing" in FAULTS and any(not isinstance(r.get("credits", 0), int) for r in records):
        raise Failure(-32000, "a record is wrong")
    if os.path.exists(os.path.join(FOLDER, "noisy")):
        print("loading", records, file=sys.stderr, flush=True)
    last = once("die-for-good")
    half = len(records) // 2 if last or once("die-in-the-middle") else None
    for position, record in enumerate(records):
        if position == half:
            save(held)
            if last:
                open(os.path.join(FOLDER, "revoked"), "w").write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        wrong = one(operation, record, held)
        if "not-again" in FAULTS and BATCHES == 2 and position == 0:
            wrong = "it is there already"
        results.append({"identifier": record["id"], "success": not wrong, "error_message": wrong})
    save(held)
    if once("lose-the-answer"):
        os.kill(os.getpid(), signal.SIGKILL)
    if once("hang"):
        signal.pause()
    first = results[0]
    if "missing-result" in FAULTS or once("miss-a-result"):
        results.pop(0)
    if "duplicate-result" in FAULTS or once("repeat-a-result"):
        results.append(first)
    if "strange-result" in FAULTS or once("name-a-stranger"):
        results[0] = {**first, "identifier": -1}
    if "text-success" in FAULTS or once("say-true-as-text"):
        results[0] = {**first, "success": "true"}
    if "no-list" in FAULTS:
        return {"results": results}
    return {"record_results": results}


def objects():
    more = {"can_create_fields": "on_write"} if "any-field" in FAULTS else {}
    listed = [] if "no-objects" in FAULTS else [{"object_api_name": "contact", "label": "Contacts", **more}]
    return {"objects": listed * 2 if "object-twice" in FAULTS else listed}


def operations():
    if "updates-only" in FAULTS:
        return {"operations": ["update"]}
    return {"operations": ["upsert", "update", "merge" if "bad-operation" in FAULTS else "mirror"]}


def speed():
    batch = 0 if "no-speed" in FAULTS else int(os.environ.get("DOUBLE_BATCH", "10"))
    rate = int(os.environ.get("DOUBLE_RATE", "100000"))
    return {"maximum_batch_size": batch, "maximum_parallel_batches": 4, "maximum_records_per_second": rate}


METHODS = {
    "test_connection": lambda: {} if "silent-test" in FAULTS else {
        "success": "broken" not in FAULTS, "error_message": "the service behind it is down"},
    "list_objects": objects,
    "supported_operations": lambda object: operations(),
    "list_fields": lambda object: {"fields": FIELDS},
    "get_sync_speed": speed,
    "sync_batch": sync_batch,
}


def answer(call):
    with open(ASKED, "a") as file:
        file.write(json.dumps({"pid": os.getpid(), **call}) + "\n")
    method, reply = METHODS.get(call["method"]), {"jsonrpc": "2.0", "id": call["id"]}
    if "old-json-rpc" in FAULTS:
        reply["jsonrpc"] = "1.0"
    if "other-id" in FAULTS:
        reply["id"] = "another"
    if not method and "takes-everything" not in FAULTS:
        return {**reply, "error": {"code": -32601, "message": "no such method"}}
    try:
        return {**reply, "result": method(**call["params"]) if method else {}}
    except Failure as failure:
        return {**reply, "error": failure.error}


def send(reply):
    if "chatty" in FAULTS:
        print("an answer follows")
    print(json.dumps(reply), flush=True)


if "dies-at-once" in FAULTS:
    sys.exit("DOUBLE_SECRET is " + os.environ.get("DOUBLE_SECRET", "not set"))
for line in sys.stdin:
    call = json.loads(line)
    reply = answer(call)
    # Two calls that are made at once get each other's results.
    if "mixes-calls" in FAULTS and call["method"] == "sync_batch" and call["params"]["records"][0]["id"] == 990000004:
        other = answer(json.loads(sys.stdin.readline()))
        reply["result"], other["result"] = other["result"], reply["result"]
        send(other)
    send(reply)
if "never-ends" in FAULTS:
    signal.pause()

// A custom connector that keeps contacts in a JSON file: node connector.js [--stdio | PORT]
const fs = require("fs"), http = require("http"), readline = require("readline");

const FILE = process.env.CONTACTS_FILE || "contacts.json";
const TOKEN = process.env.CONNECTOR_TOKEN;

const field = (name, type = "string", key = false) => ({
  field_api_name: name, label: name.replace("_", " "), type, array: false,
  identifier: key, required: key, createable: true, updateable: true,
});
const FIELDS = [
  field("email", "string", true), field("full_name"), field("plan"), field("credits", "integer"), field("signed_up", "date"),
];

const methods = {
  test_connection: () => ({ success: true }),
  list_objects: () => ({ objects: [{ object_api_name: "contact", label: "Contacts" }] }),
  supported_operations: () => ({ operations: ["upsert", "mirror"] }),
  list_fields: () => ({ fields: FIELDS }),
  get_sync_speed: () => ({ maximum_batch_size: 50, maximum_parallel_batches: 2, maximum_records_per_second: 5000 }),
  sync_batch({ sync_plan: { operation }, records }) {
    const contacts = fs.existsSync(FILE) ? JSON.parse(fs.readFileSync(FILE)) : {};
    const record_results = records.map((record) => {
      const key = record.email;
      let wrong = null;
      if (operation === "delete") delete contacts[key];
      else if (key.includes("@")) contacts[key] = { ...contacts[key], ...record };
      else wrong = "email is not an address";
      return { identifier: key, success: !wrong, error_message: wrong };
    });
    fs.writeFileSync(FILE + ".new", JSON.stringify(contacts), { flush: true }); // durable before it is acknowledged
    fs.renameSync(FILE + ".new", FILE);
    return { record_results };
  },
};

function answer(text) {
  const { id, method, params } = JSON.parse(text);
  if (!methods[method]) return JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32601, message: "no such method" } });
  return JSON.stringify({ jsonrpc: "2.0", id, result: methods[method](params) });
}

if (process.argv.includes("--stdio")) {
  readline.createInterface({ input: process.stdin }).on("line", (line) => process.stdout.write(answer(line) + "\n"));
} else {
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const allowed = !TOKEN || request.headers.authorization === `Bearer ${TOKEN}`;
    response.writeHead(allowed ? 200 : 401).end(allowed ? answer(body) : "");
  });
  server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
}

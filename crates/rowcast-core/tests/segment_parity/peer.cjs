// Evaluates the cases of a file with Segment's own packages, one answer a line.
const fs = require('fs');
const { transform } = require('@segment/actions-core/mapping-kit');
const { parseFql, validate } = require('@segment/destination-subscriptions');

for (const line of fs.readFileSync(process.argv[2], 'utf8').split('\n')) {
  if (line === '') continue;
  const { mapping, payload, fql, event } = JSON.parse(line);
  let answer;
  try {
    if (fql === undefined) {
      const value = transform(mapping, payload);
      answer = value === undefined ? { absent: true } : { value };
    } else {
      const trigger = parseFql(fql);
      answer = trigger.error ? { error: true } : { value: validate(trigger, event) };
    }
  } catch {
    answer = { error: true };
  }
  console.log(JSON.stringify(answer));
}

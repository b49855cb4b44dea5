// The published schema accepts the records in the folder RECORDS and refuses what is not a record.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import Ajv from "ajv/dist/2020.js";

const schema = JSON.parse(readFileSync(process.env.SCHEMA, "utf8"));
const ajv = new Ajv({ strict: true, allErrors: true, allowUnionTypes: true, formats: { date: /^\d{4}-\d\d-\d\d$/ } });
const validate = ajv.compile(schema);
const folder = process.env.RECORDS;
const records = readdirSync(folder).filter((name) => name.endsWith(".json")).map((name) => [name, JSON.parse(readFileSync(join(folder, name), "utf8"))]);

test("every record conforms", () => {
  assert.ok(records.length >= 1);
  for (const [name, record] of records) {
    assert.ok(validate(record), `${name}: ${ajv.errorsText(validate.errors?.slice(0, 5))}`);
  }
});

// RFC 8785 is what ECMAScript writes, with sorted keys: any program can check a record's hash.
const canonical = (value) => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
};

test("the hash is that of the standard's canonical form", () => {
  for (const [name, { content_sha256, ...rest }] of records) {
    if (rest.schema_version < 3) continue;
    assert.equal(createHash("sha256").update(canonical(rest)).digest("hex"), content_sha256, name);
  }
});

test("what is not a record does not", () => {
  const [, good] = records[0];
  const changes = {
    "another schema": (r) => { r.schema = "other"; },
    "a future version": (r) => { r.schema_version += 1; },
    "no hash": (r) => { delete r.content_sha256; },
    "a hash of another kind": (r) => { r.content_sha256 = "abc"; },
    "no tiers": (r) => { delete r.raw.tiers; },
    "an unknown field": (r) => { r.raw.run.surprise = 1; },
    "text for a number": (r) => { r.derived.speed[0].median = "fast"; },
    "a negative time": (r) => { r.raw.cells[0].outcome.speed.samples[0].elapsed_ns = -1; },
    "an unknown verdict": (r) => { r.derived.tasks[0].assessment.verdict.outcome = "perhaps"; },
    "an unknown trust class": (r) => { r.raw.cells[0].outcome.speed.windows[0].reading.trust = "hearsay"; },
  };
  for (const [what, change] of Object.entries(changes)) {
    const bad = structuredClone(good);
    change(bad);
    assert.ok(!validate(bad), what);
  }
});

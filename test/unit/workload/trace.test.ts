import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";

import { TraceError } from "../../../src/base/errors.ts";
import { parseTraceLine, readTrace, type TraceRequest } from "../../../src/workload/trace.ts";

const directory = await mkdtemp(join(tmpdir(), "kvferry-trace-"));
after(() => rm(directory, { recursive: true, force: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

async function all(path: string, options: Parameters<typeof readTrace>[1] = {}): Promise<TraceRequest[]> {
  const rows: TraceRequest[] = [];
  for await (const row of readTrace(path, options)) rows.push(row);
  return rows;
}

const lineA = '{"timestamp": 0, "input_length": 1000, "output_length": 5, "hash_ids": [0, 1]}';
const lineB = '{"timestamp":31,"input_length":600,"output_length":7,"session":"s1","hash_ids":[0,9007199254740991]}';

test("plain and gzip traces give the same requests, whatever the file is called", async () => {
  const text = `${lineA}\n${lineB}\n`;
  const plain = await all(await file("a.jsonl", text));
  assert.deepEqual(plain, [
    { timestampMs: 0, inputTokens: 1000, outputTokens: 5, hashIds: [0, 1], line: 1 },
    { timestampMs: 31, inputTokens: 600, outputTokens: 7, hashIds: [0, 9007199254740991], session: "s1", line: 2 },
  ]);
  assert.deepEqual(await all(await file("a.jsonl.gz", gzipSync(text))), plain);
  assert.deepEqual(await all(await file("misnamed.jsonl", gzipSync(text))), plain);
  assert.deepEqual(await all(await file("crlf.jsonl", `\uFEFF${lineA}\r\n\r\n${lineB}`)), [plain[0], { ...plain[1], line: 3 }]);
});

test("a limit stops reading, so that what follows is not even looked at", async () => {
  const path = await file("limit.jsonl", `${lineA}\n${lineB}\nbroken\n`);
  assert.equal((await all(path, { limit: 2 })).length, 2);
  assert.equal((await all(path, { limit: 0 })).length, 0);
});

const brokenLines: readonly [string, RegExp][] = [
  ["{", /^t:7: not JSON \(/],
  ["[1]", /^t:7: expected a JSON object, got an array$/],
  ["null", /^t:7: expected a JSON object, got null$/],
  ['{"timestamp":0,"input_length":1,"output_length":1,"hashids":[1]}', /^t:7: hash_ids is missing; did you mean "hashids"\?$/],
  ['{"timestamp":"0","input_length":1,"output_length":1,"hash_ids":[1]}', /^t:7: timestamp must be a number of 0 or more, got "0"$/],
  ['{"timestamp":0,"input_length":-1,"output_length":1,"hash_ids":[1]}', /^t:7: input_length must be an integer of 0 or more, got -1$/],
  ['{"timestamp":0,"input_length":1.5,"output_length":1,"hash_ids":[1]}', /^t:7: input_length must be an integer of 0 or more, got 1.5$/],
  ['{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":7}', /^t:7: hash_ids must be an array of integers, got a number$/],
  ['{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":[0,"a"]}', /^t:7: hash_ids\[1\] must be an integer in \[0, 2\^53\), got "a"$/],
  ['{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":[0,1e99]}', /^t:7: hash_ids\[1\] must be an integer in \[0, 2\^53\), got 1e\+99$/],
  ['{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":[3,4,3]}', /^t:7: hash_ids\[2\] repeats 3: a prefix occurs once in a prompt$/],
  ['{"timestamp":0,"input_length":1,"output_length":1,"session":5,"hash_ids":[]}', /^t:7: session must be a string, got a number$/],
];

for (const [text, message] of brokenLines)
  test(`the line ${text} is refused by name`, () => {
    assert.throws(
      () => parseTraceLine(text, "t", 7),
      (error: unknown) => error instanceof TraceError && error.code === "KVFERRY_TRACE" && error.line === 7 && message.test(error.message),
    );
  });

test("a broken line ends the reading unless it may be skipped, and then it is told", async () => {
  const path = await file("broken.jsonl", `${lineA}\nnonsense\n${lineB}\n`);
  await assert.rejects(all(path), (error: unknown) => error instanceof TraceError && error.line === 2 && error.message.startsWith(`${path}:2: not JSON`));
  const skipped: number[] = [];
  const rows = await all(path, { onBrokenLine: (error) => skipped.push(error.line) });
  assert.deepEqual([rows.map((row) => row.line), skipped], [[1, 3], [2]]);
});

test("a missing file, a directory and a truncated gzip are errors that name the file", async () => {
  await assert.rejects(all(join(directory, "absent.jsonl")), /absent\.jsonl: cannot be opened as a trace \(ENOENT/);
  await assert.rejects(all(directory), /cannot be opened as a trace \(EISDIR/);
  const packed = gzipSync(`${lineA}\n`.repeat(5000));
  const cut = await file("cut.jsonl.gz", packed.subarray(0, packed.length - 20));
  await assert.rejects(all(cut), /cut\.jsonl\.gz:\d+: cannot be read on \(unexpected end of file\)/);
});

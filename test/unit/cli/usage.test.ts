import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";

import { packageRoot } from "../../../src/native/load.ts";
import { kvferry } from "./terminal.ts";

const shippedTrace = join(packageRoot(), "examples/traces/chat.jsonl");
const directory = await mkdtemp(join(tmpdir(), "kvferry-cli-"));
after(() => rm(directory, { recursive: true, force: true }));

/** Command line, and the whole of what stderr must say. */
const refusals: readonly (readonly [readonly string[], string | RegExp])[] = [
  [["replya"], 'kvferry replya: unknown command "replya"; known: replay, bench, inspect, demo, build-native; did you mean "replay"?'],
  [["frobnicate"], 'kvferry frobnicate: unknown command "frobnicate"; known: replay, bench, inspect, demo, build-native'],
  [["replay"], /^kvferry replay: argument TRACE is missing/],
  [["replay", shippedTrace, "extra"], /^kvferry replay: too many arguments/],
  [["replay", shippedTrace, "--evicton-policy", "LRU"], 'kvferry replay: unknown option --evicton-policy; did you mean "--eviction-policy"?'],
  [["replay", shippedTrace, "--limit"], "kvferry replay: --limit <n> needs a value"],
  [["replay", shippedTrace, "--limit", "0"], 'kvferry replay: --limit must be an integer of at least 1, got "0"'],
  [["replay", shippedTrace, "--limit", "12abc"], 'kvferry replay: --limit must be an integer of at least 1, got "12abc"'],
  [["replay", shippedTrace, "--limit", "0x10"], 'kvferry replay: --limit must be an integer of at least 1, got "0x10"'],
  [["replay", shippedTrace, "--l1-size-gb", "-1"], 'kvferry replay: --l1-size-gb must be a number above 0, got "-1"'],
  [["replay", shippedTrace, "--l1-size-gb", "0.00001"], /--l1-size-gb must be at least 0\.00006103515625 \(64\.0 KiB\), got 0\.00001 \(10\.5 KiB\)$/],
  [["replay", shippedTrace, "--l1-size-gb", "1e9"], /^kvferry replay: --l1-size-gb must be at most \d+(\.\d+)? here \(memory limit .*\), got 1000000000$/],
  [["replay", shippedTrace, "--drain-seconds", "1e9"], 'kvferry replay: --drain-seconds must be a number above 0 and at most 2147483, got "1e9"'],
  [["replay", shippedTrace, "--eviction-policy", "constructor"], /Unknown eviction policy 'constructor'\. Known: [A-Za-z, ]+$/],
  [["replay", shippedTrace, "--l2-adapter", '{"type":"mock","max_size_gb":1e9,"mock_bandwidth_gb":1}'], /--l2-adapter #1\.max_size_gb must be at most .*, got 1000000000$/],
  [["replay", shippedTrace, "--report", shippedTrace], /^kvferry replay: --report must be another file than TRACE/],
  [["replay", shippedTrace, "--report", directory], /^kvferry replay: --report must be a file that can be written, got .* \(it is a directory\)$/],
  [["bench", "constructor"], /unknown benchmark "constructor"; known: /],
  [["replay", shippedTrace, "--speed", "fast"], 'kvferry replay: --speed must be max, trace or a factor above 0 such as 10, got "fast"'],
  [["replay", shippedTrace, "--payload-bytes-per-block", "1001"], "kvferry replay: --payload-bytes-per-block must be a multiple of 4, got 1001"],
  [["replay", shippedTrace, "--l2-adapter", "fs"], /^kvferry replay: --l2-adapter must be a JSON object such as .*, got 'fs' \(/],
  [["replay", shippedTrace, "--l2-adapter", "[1]"], "kvferry replay: --l2-adapter must be a JSON object, got '[1]'"],
  [["replay", shippedTrace, "--l2-adapter", '{"type":"fss"}'], /--l2-adapter #1.*fss.*did you mean "fs"/],
  [["replay", shippedTrace, "--l2-adapter", '{"type":"mock","max_size_gb":1,"mock_bandwidth_gb":1,"max_sise_gb":2}'], /--l2-adapter #1 .*max_sise_gb.*did you mean "max_size_gb"/],
  [["replay", shippedTrace, "--eviction-policy", "LRUU"], /Unknown eviction policy 'LRUU'\. Known: .*LRU.*did you mean "LRU"/],
  [["replay", shippedTrace, "--l2-store-policy", "skipl1", "--l2-adapter", '{"type":"mock","max_size_gb":1,"mock_bandwidth_gb":1}'], /Unknown store policy 'skipl1'.*did you mean "skip_l1"/],
  [["replay", shippedTrace, "--eviction-policy", "noop"], /--l2-adapter must name at least one adapter: with evictionPolicy noop/],
  [["replay", shippedTrace, "--l2-store-policy", "skip_l1"], /--l2-adapter must name at least one adapter/],
  [["replay", shippedTrace, "--capacity-blocks", "5"], /^kvferry replay: --capacity-blocks is for --index-only/],
  [["replay", shippedTrace, "--index-only"], "kvferry replay: --index-only needs --capacity-blocks, the number of chunks that fit"],
  [["replay", shippedTrace, "--index-only", "--capacity-blocks", "5", "--report", "x.html"], "kvferry replay: --report moves payload and has no meaning with --index-only"],
  [["replay", shippedTrace, "--index-only", "--capacity-blocks", "5", "--touch-order", "tail"], 'kvferry replay: --touch-order must be one of head-first, tail-first; got "tail"; did you mean "tail-first"?'],
  [["replay", shippedTrace, "--index-only", "--capacity-blocks", "5", "--eviction-policy", "noop"], /--eviction-policy noop evicts nothing/],
  [["replay", join(directory, "absent.jsonl")], /absent\.jsonl: cannot be opened as a trace \(ENOENT/],
  [["replay", shippedTrace, "--l2-adapter", '{"type":"fault_inject","inner":{"type":"mock","max_size_gb":1,"mock_bandwidth_gb":1},"store":{"fail":7}}'], "kvferry replay: --l2-adapter #1 ('fault_inject'): store.fail must be a number from 0 to 1, got 7"],
  [["replay", shippedTrace, "--l2-adapter", '{"type":"mock","max_size_gb":"1","mock_bandwidth_gb":1}'], `kvferry replay: --l2-adapter #1 ('mock'): max_size_gb must be a positive number, got "1"`],
  [["replay", shippedTrace, "--l2-adapter", '{"type":"fs","base_path":"/proc/kvferry/none"}'], /^kvferry replay: fs: base_path \/proc\/kvferry\/none cannot be used: ENOENT/],
  [["replay", shippedTrace, "--l2-adapter", '{"type":"plugin","module_path":"./none.mjs","class_name":"X"}'], /none\.mjs should export an L2 adapter class, but there is no such file/],
  [["replay", shippedTrace, "--l2-store-policy", "./none.mjs", "--l2-adapter", '{"type":"mock","max_size_gb":1,"mock_bandwidth_gb":1}'], /none\.mjs should export a store policy, but there is no such file/],
  [["replay", shippedTrace, "--l2-store-policy", "mine.mjs", "--l2-adapter", '{"type":"mock","max_size_gb":1,"mock_bandwidth_gb":1}'], /a module's file is written with its path: '\.\/mine\.mjs'$/],
  [["replay", shippedTrace, "--index-only", "--capacity-blocks", "5", "--eviction-policy", "./none.mjs"], /none\.mjs should export an eviction policy, but there is no such file/],
  [["replay", shippedTrace, "--l2-adapter", '{"type":"fs","base_path":"/proc/kvferry/none","max_size_gb":0.00001}'], "kvferry replay: --l2-adapter #1 ('fs'): max_size_gb must be at least 0.0000191, one object of 20.0 KiB (--payload-bytes-per-block 16384), got 0.00001"],
  [["replay", shippedTrace, "--payload-bytes-per-block", "262144", "--l2-adapter", '{"type":"fault_inject","inner":{"type":"mock","max_size_gb":0.0001,"mock_bandwidth_gb":1}}'], /--l2-adapter #1\.inner \('mock'\): max_size_gb must be at least 0\.000245, /],
  [["demo", "--model", "/nonexistent.bin"], /^kvferry demo: there is no model at \/nonexistent\.bin; give a llama2\.c checkpoint/],
  [["inspect", join(packageRoot(), "README.md")], /^kvferry inspect: .*README\.md is not one of kvferry's files/],
  [["bench", "cpoy"], /unknown benchmark "cpoy"; known: .*; did you mean "copy"\?/],
];

for (const [args, expected] of refusals)
  test(`kvferry ${args.map((arg) => (arg === shippedTrace ? "TRACE" : arg)).join(" ")} is refused in one sentence`, async () => {
    const { code, out, err } = await kvferry(...args);
    assert.equal(code, 2, err);
    assert.equal(out, "");
    const sentence = err.trimEnd();
    assert.ok(!sentence.includes("\n"), `one line, got:\n${err}`);
    if (typeof expected === "string") assert.equal(sentence, expected);
    else assert.match(sentence, expected);
  });

test("a broken line of a trace names file and line, exit code 1; with --skip-broken-lines it is counted", async () => {
  const path = join(directory, "broken.jsonl");
  const good = '{"timestamp":0,"input_length":600,"output_length":1,"hash_ids":[0,1]}';
  await writeFile(path, `${good}\n{"timestamp":0}\n${good}\n`);
  const stopped = await kvferry("replay", path, "--index-only", "--capacity-blocks", "10");
  assert.equal(stopped.code, 1);
  assert.match(stopped.err, /broken\.jsonl:2: input_length is missing/);
  const skipped = await kvferry("replay", path, "--index-only", "--capacity-blocks", "10", "--json", "--skip-broken-lines");
  assert.equal(skipped.code, 0);
  const result = JSON.parse(skipped.out) as { requests: number; brokenLines: number; chunks: { hit: number } };
  assert.deepEqual([result.requests, result.brokenLines, result.chunks.hit], [2, 1, 2]);
  assert.match(skipped.err, /^1 broken line left out; the first: .*broken\.jsonl:2/);
});

test("help and version go to stdout with exit code 0", async () => {
  const help = await kvferry("replay", "--help");
  assert.equal(help.code, 0);
  for (const flag of ["--limit", "--payload-bytes-per-block", "--l1-size-gb", "--eviction-policy", "--l2-store-policy", "--l2-prefetch-policy", "--l2-adapter", "--speed", "--seed", "--json", "--report", "--index-only", "--capacity-blocks", "--touch-order", "--skip-broken-lines"])
    assert.ok(help.out.includes(flag), `${flag} is in the help`);
  assert.match((await kvferry("--version")).out, /^\d+\.\d+\.\d+/);
  const none = await kvferry();
  assert.equal(none.code, 2);
  assert.match(none.err, /replay .*\n/);
});

test("--index-only prints the ratios that the simulation gives, for people and as JSON", async () => {
  const json = await kvferry("replay", shippedTrace, "--index-only", "--capacity-blocks", "200", "--eviction-policy", "LRU", "--touch-order", "tail-first", "--json");
  const result = JSON.parse(json.out) as { chunks: { hit: number }; evictions: number; prefixHitRatio: number; touchOrder: string };
  assert.deepEqual([result.chunks.hit, result.evictions, result.touchOrder], [3207, 960, "tail-first"]);
  assert.equal(result.prefixHitRatio, 3207 / 4308);
  const text = await kvferry("replay", shippedTrace, "--index-only", "--capacity-blocks", "200", "--touch-order", "tail-first");
  assert.match(text.out, /prefix hits +3,207 = 74\.44 %/);
});

test("a place that the environment names and nobody can write is refused by the variable's name", async () => {
  for (const [variable, args] of [["TMPDIR", ["replay", shippedTrace]], ["KVFERRY_BENCH_DIR", ["bench", "fs", "--quick"]]] as const) {
    const before = process.env[variable];
    process.env[variable] = "/nonexistent";
    const { code, out, err } = await kvferry(...args).finally(() => {
      if (before === undefined) delete process.env[variable];
      else process.env[variable] = before;
    });
    assert.deepEqual([code, out], [2, ""], err);
    assert.match(err, new RegExp(`^kvferry \\w+: ${variable} must name a directory that can be written, got "/nonexistent" \\(ENOENT.*\\)\n$`));
  }
});

test("a cut gzip trace is refused, and --skip-broken-lines does not pretend to help", async () => {
  const path = join(directory, "cut.jsonl.gz");
  await writeFile(path, gzipSync(await readFile(shippedTrace)).subarray(0, 5000));
  const { code, out, err } = await kvferry("replay", path, "--index-only", "--capacity-blocks", "10", "--skip-broken-lines");
  assert.deepEqual([code, out], [1, ""]);
  assert.match(err, /cut\.jsonl\.gz:\d+: .*what was read before that is not used, and --skip-broken-lines cannot skip it/);
});

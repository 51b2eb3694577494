import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { reportFile } from "../../../src/cli/replay/report-file.ts";
import { packageRoot } from "../../../src/native/load.ts";
import type { ReplayResult } from "../../../src/workload/replay-result.ts";
import { kvferry, type CliRun } from "./terminal.ts";

const main = fileURLToPath(import.meta.resolve("../../../src/cli/main.js"));
const shippedTrace = join(packageRoot(), "examples/traces/chat.jsonl");
const traceDirectory = process.env.KVFERRY_TRACE_DIR ?? join(packageRoot(), "../shared/data");
const conversation = join(traceDirectory, "mooncake_conversation_trace.jsonl.gz");
const miniswe = join(traceDirectory, "miniswe_llama3_blk256.jsonl.gz");
const skipWithout = (path: string): string | false => (existsSync(path) ? false : `${path} is not here; set KVFERRY_TRACE_DIR to the folder that has it`);

const directory = await mkdtemp(join(tmpdir(), "kvferry-cli-replay-"));
after(() => rm(directory, { recursive: true, force: true }));

const fs = (name: string): string => JSON.stringify({ type: "fs", base_path: join(directory, name), min_free_gb: 0.05, min_free_percent: 0, min_free_inodes_percent: 0 });
const mock = JSON.stringify({ type: "mock", max_size_gb: 1, mock_bandwidth_gb: 20 });

interface ProcessRun extends CliRun {
  readonly signal: string | null;
}

/** Runs the command as its own process; `onStart` gets it as soon as it replays. */
function kvferryProcess(args: readonly string[], onStart: (kill: (signal: NodeJS.Signals) => void) => void = () => {}, environment: NodeJS.ProcessEnv = {}): Promise<ProcessRun> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...environment } });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => void (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    // The banner is written when everything is open.
    if (!err.includes("L2 ") && (err + text).includes("L2 ")) onStart((signal) => child.kill(signal));
    err += text;
  });
  return new Promise((resolve) => child.on("close", (code, signal) => resolve({ code: code ?? -1, signal, out, err })));
}

/** Object files below a directory of the fs adapter. */
function objectPaths(base: string): string[] {
  return readdirSync(join(base, "objects"), { recursive: true, encoding: "utf8" }).filter((name) => /[0-9a-f]{32}\.[0-9a-f]{8}$/.test(name));
}

function resultOf(run: CliRun): ReplayResult {
  assert.notEqual(run.out, "", run.err);
  return JSON.parse(run.out) as ReplayResult;
}

test("the shipped trace with no flags at all: buffer-only over a directory that is gone afterwards", async () => {
  const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("kvferry-replay-") && !name.startsWith("kvferry-replay-test"));
  const before = leftovers();
  const run = await kvferry("replay", shippedTrace, "--json");
  const result = resultOf(run);
  assert.equal(run.code, 0, run.err);
  assert.deepEqual(result.chunks, { requested: 4308, hit: 3529, stored: 779 });
  assert.equal(result.prefixHitRatio, 3529 / 4308);
  assert.equal(result.prefixHitRatio, result.infinitePrefixHitRatio);
  assert.deepEqual(result.bytes, { stored: 779 * 16384, loaded: 3529 * 16384, verified: 3529 * 16384, wrong: 0 });
  assert.equal(result.l1.usedBytesAtEnd, 0);
  assert.deepEqual(result.obligations, { created: 779, stored: 779, failed: 0, dropped: 0 });
  assert.deepEqual([result.policies.eviction, result.policies.store, result.problems, result.warnings], ["noop", "skip_l1", [], []]);
  assert.ok(result.seconds > 0 && result.eventLoopDelayMs.max >= result.eventLoopDelayMs.p99);
  assert.deepEqual(leftovers().filter((name) => !before.includes(name)), []);
});

test("a person gets a summary, and a report where asked for", async () => {
  const report = join(directory, "run.html");
  const run = await kvferry("replay", shippedTrace, "--limit", "80", "--eviction-policy", "noop", "--l2-adapter", mock, "--report", report);
  assert.equal(run.code, 0, run.err);
  assert.match(run.out, /80 requests in /);
  assert.match(run.out, /prefix hits +[\d,]+ of [\d,]+ chunks = \d\d\.\d\d %/);
  assert.match(run.out, /every byte checked: 0 wrong/);
  assert.match(run.out, /0 B at the end/);
  const html = await readFile(report, "utf8");
  assert.ok(html.includes("every byte right, L1 at rest") && html.includes("--eviction-policy noop --l2-adapter"));
});

test("a report that cannot be written is refused before anything runs", async () => {
  const run = await kvferry("replay", shippedTrace, "--eviction-policy", "noop", "--l2-adapter", mock, "--report", join(directory, "no/such/folder.html"));
  assert.equal(run.code, 2);
  assert.match(run.err, /--report must be a file that can be written, got .*ENOENT/);
});

test("a chunk that can never fit into L1 is refused with the largest that can", async () => {
  const run = await kvferry("replay", shippedTrace, "--eviction-policy", "noop", "--l2-adapter", mock, "--l1-size-gb", "0.001", "--payload-bytes-per-block", "4194304");
  assert.equal(run.code, 2);
  assert.match(run.err, /--payload-bytes-per-block must be at most \d+ \(.*\), the largest object of an L1 of 1\.02 MiB, got 4194304 \(4\.00 MiB\)/);
});

test("the first 1,000 requests of the conversation trace hit 0.2121 over mock and over fs", { skip: skipWithout(conversation) }, async () => {
  for (const adapter of [mock, fs("conversation")]) {
    const run = await kvferry("replay", conversation, "--limit", "1000", "--payload-bytes-per-block", "4096", "--l1-size-gb", "0.03", "--eviction-policy", "noop", "--l2-adapter", adapter, "--json");
    const result = resultOf(run);
    assert.equal(run.code, 0, run.err);
    assert.equal(result.prefixHitRatio.toFixed(4), "0.2121");
    assert.deepEqual([result.chunks.requested, result.chunks.stored, result.bytes.wrong, result.l1.usedBytesAtEnd], [27_305, 21_514, 0, 0]);
  }
});

test("the session variant replays as well", { skip: skipWithout(miniswe) }, async () => {
  const run = await kvferry("replay", miniswe, "--limit", "100", "--eviction-policy", "noop", "--l2-adapter", mock, "--json");
  const result = resultOf(run);
  assert.deepEqual([run.code, result.prefixHitRatio, result.bytes.wrong], [0, result.infinitePrefixHitRatio, 0]);
});

test("wrong bytes end with exit code 1 and a sentence", async () => {
  const lying = JSON.stringify({ type: "fault_inject", inner: JSON.parse(mock), seed: 3, load: { corrupt_silently: 0.05 } });
  const run = await kvferry("replay", shippedTrace, "--limit", "100", "--eviction-policy", "noop", "--l2-adapter", lying, "--json");
  const result = resultOf(run);
  assert.equal(run.code, 1);
  assert.ok(result.bytes.wrong > 0);
  assert.match(run.err, /\d+ of \d+ loaded bytes were wrong/);
});

test("stores that fail are warned about, per adapter and reason, and leave nothing in L1", async () => {
  const failing = JSON.stringify({ type: "fault_inject", inner: JSON.parse(mock), seed: 3, store: { refuse: 0.3 } });
  const run = await kvferry("replay", shippedTrace, "--limit", "100", "--eviction-policy", "noop", "--l2-adapter", failing, "--json");
  const result = resultOf(run);
  assert.equal(run.code, 0, run.err);
  assert.ok(result.obligations.failed > 0);
  assert.deepEqual([result.bytes.wrong, result.l1.usedBytesAtEnd, result.problems], [0, 0, []]);
  assert.match(run.err, /warning: \d+ chunk stores failed at .*: refused/);
});

test("a store with room for nothing is named with the field that leaves it none, and every count agrees", async () => {
  const full = JSON.stringify({ type: "fs", base_path: join(directory, "full"), min_free_gb: 1e9 });
  const args = ["replay", shippedTrace, "--limit", "20", "--eviction-policy", "noop", "--l2-adapter", full];
  const run = await kvferry(...args);
  assert.equal(run.code, 0, run.err);
  assert.match(run.err, /warning: fs can hold nothing, so every store to it will fail: .*min_free_gb 1000000000 is more than is free/);
  const [, created, failed] = /obligations +(\d+) created = 0 stored \+ (\d+) failed/.exec(run.out) ?? [];
  assert.equal(created, failed, run.out);
  assert.ok(run.out.includes(`(${failed} no_room at fs)`) && run.out.includes(`of ${created} stores ${failed} failed`), run.out);
  assert.ok(run.err.includes(`warning: ${failed} chunk stores failed at fs: no_room`), run.err);
  assert.match(run.err, /WARN fs: \d+ keys failed \(no_room\).* \(the first of this kind; the summary counts all\)/);
});

/** Names the adapter for every second chunk alone, and keeps nothing in L1. */
const halfPolicy = `export default class {
  name = "half";
  selectStoreTargets(keys, [adapter]) {
    return [{ adapterIndex: adapter.index, keyIndices: Uint32Array.from({ length: keys.count }, (_, index) => index).filter((index) => index % 2 === 0) }];
  }
  decideL1() {
    return "drop";
  }
}`;

test("what a user's store policy drops is counted with its reason; a drop that nobody decided is a broken promise", async () => {
  const path = join(directory, "half.mjs");
  await writeFile(path, halfPolicy);
  const args = ["replay", shippedTrace, "--limit", "20", "--eviction-policy", "noop", "--l2-adapter", mock, "--l2-store-policy"];
  const chosen = await kvferry(...args, path);
  assert.equal(chosen.code, 0, chosen.out);
  assert.match(chosen.out, /(\d+) dropped \(\1 no_target\)/);
  assert.match(chosen.out, /verdict +every loaded byte right, L1 at rest/);
  const throwing = join(directory, "throwing.mjs");
  await writeFile(throwing, halfPolicy.replace("return [{", 'if (keys.count > 1) throw new Error("no"); return [{'));
  const undecided = await kvferry(...args, throwing);
  assert.equal(undecided.code, 1, undecided.out);
  assert.match(undecided.out, /verdict +BROKEN: \d+ chunks were dropped/);
});

test("the banner says how files move only where there are files, and a warning once", async () => {
  const run = await kvferry("replay", shippedTrace, "--limit", "5", "--eviction-policy", "noop", "--l2-store-policy", "default", "--l2-adapter", mock);
  assert.equal(run.code, 0, run.err);
  assert.ok(!run.err.includes("files go through"), run.err);
  assert.equal(run.err.split("nothing ever leaves L1").length, 2, run.err);
});

for (const [signal, code] of [["SIGTERM", 143], ["SIGINT", 130], ["SIGHUP", 129]] as const)
  test(`${signal} in the middle drains, prints the summary so far and exits with ${code}`, async () => {
    const name = `interrupted-${signal}`;
    // By the trace's clock the run would take minutes.
    const args = ["replay", shippedTrace, "--speed", "60", "--eviction-policy", "noop", "--l2-adapter", fs(name)];
    const run = await kvferryProcess(args, (kill) => setTimeout(() => kill(signal), 600));
    assert.equal(run.code, code, run.err);
    assert.match(run.err, new RegExp(`${signal}: no new requests; waiting for what is in flight`));
    assert.match(run.out, new RegExp(`ended early by ${signal} after \\d+ requests; every loaded byte right, L1 at rest`));
    assert.match(run.out, /0 B at the end/);
    const inspected = await kvferry("inspect", join(directory, name), "--json");
    assert.equal(inspected.code, 0, inspected.out);
    const { objects, owner, temporaryFiles } = JSON.parse(inspected.out) as { objects: number; owner: unknown; temporaryFiles: number };
    const stored = Number(/stored +([\d,]+) chunks/.exec(run.out)?.[1].replaceAll(",", ""));
    assert.deepEqual([objects, owner, temporaryFiles], [stored, null, 0]);
  });

test("the temporary directory goes away after a signal, and after a second one that does not wait", async () => {
  for (const signals of [["SIGHUP"], ["SIGTERM", "SIGHUP"]] as const) {
    const place = await mkdtemp(join(directory, "tmp-"));
    const run = await kvferryProcess(["replay", shippedTrace, "--speed", "20"], (kill) => {
      assert.equal(readdirSync(place).length, 1);
      setTimeout(() => {
        for (const signal of signals) kill(signal);
      }, 400);
    }, { TMPDIR: place });
    assert.ok([129, 143].includes(run.code), `${run.code} ${run.err}`);
    assert.deepEqual(readdirSync(place), [], signals.join());
  }
});

test("a report's place keeps what it holds until the new page is whole, and a pipe or device stays one", async () => {
  const report = join(directory, "earlier.html");
  const link = join(directory, "link.html");
  await writeFile(report, "the last run");
  await symlink(report, link);
  const refused = await kvferry("replay", shippedTrace, "--eviction-policy", "LRUU", "--report", report);
  assert.equal(refused.code, 2);
  assert.equal(await readFile(report, "utf8"), "the last run");
  await (await reportFile(link, shippedTrace)).write("this run");
  assert.equal(await readFile(report, "utf8"), "this run");
  assert.equal(await readlink(link), report);
  await (await reportFile("/dev/null", shippedTrace)).write("x");
  assert.ok((await stat("/dev/null")).isCharacterDevice());
  assert.deepEqual(readdirSync(directory).filter((name) => name.endsWith(".tmp")), []);
  const alias = join(directory, "alias.jsonl");
  await symlink(shippedTrace, alias);
  const onTrace = await kvferry("replay", shippedTrace, "--report", alias);
  assert.match(onTrace.err, /--report must be another file than TRACE/);
});

test("SIGKILL in the middle: the next run finds what was complete, checks every byte and clears the rest", async () => {
  const args = ["replay", shippedTrace, "--payload-bytes-per-block", "65536", "--eviction-policy", "noop", "--l1-size-gb", "0.01", "--l2-adapter", fs("killed")];
  // By what is on disk, not by time: a busy machine has stored nothing after any number of milliseconds.
  const killed = await kvferryProcess([...args, "--speed", "200"], (kill) => {
    const look = setInterval(() => {
      if (objectPaths(join(directory, "killed")).length < 20) return;
      clearInterval(look);
      kill("SIGKILL");
    }, 10);
    look.unref();
  });
  assert.equal(killed.signal, "SIGKILL");
  const found = JSON.parse((await kvferry("inspect", join(directory, "killed"), "--json")).out) as { objects: number; damaged: unknown[]; owner: { alive: boolean } };
  assert.ok(found.objects > 0);
  assert.deepEqual([found.damaged, found.owner.alive], [[], false]);
  const inodes = (): Map<string, number> => new Map(objectPaths(join(directory, "killed")).map((path) => [path, statSync(join(directory, "killed", "objects", path)).ino]));
  const complete = inodes();
  const run = await kvferry(...args, "--json");
  const result = resultOf(run);
  assert.equal(run.code, 0, run.err);
  // Files end in any order: one behind a gap is no part of a prefix, so its chunk passes through L1 again, but is not written again.
  assert.ok(result.chunks.stored >= 779 - found.objects && result.chunks.stored <= 779, `${result.chunks.stored} stored, ${found.objects} were there`);
  const now = inodes();
  for (const [path, inode] of complete) assert.equal(now.get(path), inode, `${path} was complete and is written again`);
  assert.deepEqual([result.bytes.wrong, result.l1.usedBytesAtEnd, result.warnings], [0, 0, []]);
  const after = await kvferry("inspect", join(directory, "killed"), "--json");
  const { objects, temporaryFiles } = JSON.parse(after.out) as { objects: number; temporaryFiles: number };
  assert.deepEqual([after.code, objects, temporaryFiles], [0, 779, 0]);
});

test("inspect names a damaged file and exits with 1; a later replay counts it as a miss", async () => {
  const args = ["replay", shippedTrace, "--limit", "50", "--eviction-policy", "noop", "--l2-adapter", fs("damaged")];
  assert.equal((await kvferry(...args)).code, 0);
  const base = join(directory, "damaged");
  const [path] = objectPaths(base);
  const whole = await readFile(join(base, "objects", path));
  whole[whole.length - 4097] ^= 1;
  await writeFile(join(base, "objects", path), whole);
  const inspected = await kvferry("inspect", base);
  assert.equal(inspected.code, 1);
  assert.ok(inspected.out.includes(path), inspected.out);
  const file = await kvferry("inspect", join(base, "objects", path));
  assert.deepEqual([file.code, /damaged +\S/.test(file.out)], [1, true]);
  const again = await kvferry(...args, "--json");
  const result = resultOf(again);
  assert.deepEqual([again.code, result.bytes.wrong, result.chunks.stored], [0, 0, 1]);
  assert.match(again.err, /warning: 1 chunks? of fs counted as misses: corrupt/);
});

test("what inspect cannot read is said in one sentence", async () => {
  const foreign = await kvferry("inspect", packageRoot());
  assert.equal(foreign.code, 2);
  assert.match(foreign.err, /^kvferry inspect: .* is not a kvferry directory: it has no kvferry\.json/);
  assert.equal((await kvferry("inspect", join(directory, "absent"))).code, 2);
});

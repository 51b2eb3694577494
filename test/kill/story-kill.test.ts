/** A narrator killed with SIGKILL, at many moments: what it reported as stored is served, with its own bytes, and the text goes on. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { SeededRandom } from "../../src/base/random.ts";
import { shippedModel, type OpenModel } from "../../src/demo/model-files.ts";
import { startNarrator, type NarratorEnd } from "../../src/demo/narrator-child.ts";
import { runStoryDemo } from "../../src/demo/story.ts";
import type { ChunkRecord, NarratorOrder, StoryEvent } from "../../src/demo/story-events.ts";
import { continueText, newSequence, openShipped, storiesPath } from "../unit/demo/models.ts";

const tokensMax = 160;

test("the demo: killed in the middle of a sentence, and the other process goes on with it", async () => {
  let shown = "";
  const report = await runStoryDemo({ modelPath: shippedModel().checkpointPath, view: { write: (text) => void (shown += text), color: false } });
  assert.equal(report.signal, "SIGKILL");
  assert.ok(report.ok, JSON.stringify(report));
  assert.equal(report.wrongChunks, 0);
  assert.equal(report.l1UsedBytesAtEnd, 0);
  assert.ok(report.restoredTokens >= 32 && report.restoredTokens <= report.killedAtToken);
  assert.equal(report.restoredTokens + report.computedTokens, report.killedAtToken);
  assert.match(report.text, /the captain lost her place in the story .* and she went on with the same sentence\./s);
  assert.match(shown, /kill -9 \d+ in the middle of a sentence/);
  assert.match(shown, /the same sentence: all \d+ tokens/);
});

test("the demo on stories260K", async (context) => {
  if (!existsSync(storiesPath)) {
    context.skip(`there is no ${storiesPath}; name the file in KVFERRY_MODEL`);
    return;
  }
  const report = await runStoryDemo({ modelPath: storiesPath, tokensMax: 201 });
  assert.ok(report.ok, JSON.stringify(report));
  assert.match(report.text, /^Once upon a time, there was a little girl named Lily\..*so she$/s);
});

test("a story that is stopped leaves neither process nor directory", async (context) => {
  const place = scratch(context);
  const before = process.env.TMPDIR;
  process.env.TMPDIR = place;
  context.after(() => (before === undefined ? delete process.env.TMPDIR : (process.env.TMPDIR = before)));
  const stop = new AbortController();
  let pid = 0;
  const view = {
    write(text: string): void {
      pid ||= Number(/process (\d+) writes/.exec(text)?.[1] ?? 0);
      if (pid > 0) setTimeout(() => stop.abort(new Error("stopped")), 100);
    },
    color: false,
  };
  await assert.rejects(runStoryDemo({ modelPath: shippedModel().checkpointPath, paceMs: 50, view, signal: stop.signal }), /stopped/);
  assert.ok(pid > 0);
  assert.throws(() => process.kill(pid, 0), /ESRCH/);
  assert.deepEqual(readdirSync(place), []);
});

test("a narrator whose listener went away ends without a word", async (context) => {
  const entry = fileURLToPath(import.meta.resolve("../../src/demo/narrator-process.js"));
  const narrator = spawn(process.execPath, [entry, JSON.stringify(order(openShipped(), scratch(context), [1], 0))], { stdio: ["ignore", "pipe", "pipe"] });
  narrator.stdout.destroy();
  let said = "";
  narrator.stderr.setEncoding("utf8").on("data", (text: string) => void (said += text));
  const [code] = (await once(narrator, "close")) as [number];
  assert.deepEqual([code, said], [1, ""]);
});

test("a story that is too short to be interrupted is refused in words", async () => {
  const modelPath = shippedModel().checkpointPath;
  await assert.rejects(runStoryDemo({ modelPath, tokensMax: 40 }), /must have at least \d+ tokens to be interrupted, ferry ends it after 40/);
});

test("killed again and again, the text is the one that nobody interrupted", async (context) => {
  const seed = Number(process.env.KVFERRY_TEST_SEED ?? 20261122);
  context.diagnostic(`seed ${seed} (KVFERRY_TEST_SEED)`);
  const random = new SeededRandom(seed);
  const model = openShipped();
  const expected = continueText(model, newSequence(model), model.tokenizer.encode("Once a storm"), tokensMax).tokens;
  const directory = scratch(context);

  let tokens: readonly number[] = model.tokenizer.encode("Once a storm");
  const stored = new Map<number, ChunkRecord>();
  for (let life = 0; tokens.length < expected.length; life++) {
    assert.ok(life < 12, "the text must grow");
    const mortal = life < 6;
    // Some die at a token, some right after a store was reported, some at any moment: while they start, load, or store.
    const last = mortal ? { tokens: 8 + random.nextBelow(24), stores: random.nextBelow(3) } : { tokens: Infinity, stores: Infinity };
    const killAfterMs = mortal && life % 2 === 1 ? 40 + random.nextBelow(200) : undefined;
    const end = await live(order(model, directory, tokens, life), killAfterMs, (event, heard) => {
      if (event.type === "restored") {
        assertRestored(event, tokens, stored);
        // On disk, though its writer died before it could say so.
        for (const chunk of event.chunks) if (!stored.has(chunk.index)) stored.set(chunk.index, chunk);
      }
      if (event.type === "stored") stored.set(event.chunk.index, event.chunk);
      return heard.tokens >= last.tokens || (last.stores > 0 && heard.stores >= last.stores + 1);
    });
    if (end.tokens.length < expected.length) assert.equal(end.signal, "SIGKILL");
    assert.deepEqual(end.tokens, expected.slice(0, end.tokens.length));
    tokens = end.tokens;
  }
  assert.deepEqual(tokens, expected);
  assert.equal(stored.size, Math.floor((expected.length - 1) / 16));
});

/** What was reported stored, as far as the text reaches, is there, with the bytes of the process that computed it. */
function assertRestored(event: Extract<StoryEvent, { type: "restored" }>, tokens: readonly number[], stored: ReadonlyMap<number, ChunkRecord>): void {
  const reach = Math.floor((tokens.length - 1) / 16);
  let promised = 0;
  while (promised < reach && stored.has(promised)) promised++;
  assert.ok(event.chunks.length >= promised, `${promised} chunks were reported stored, ${event.chunks.length} came back`);
  for (const chunk of event.chunks) {
    const original = stored.get(chunk.index);
    if (original !== undefined) assert.equal(chunk.digest, original.digest, `chunk ${chunk.index}`);
  }
}

interface Life {
  readonly tokens: readonly number[];
  readonly signal: NarratorEnd["signal"];
}

/** Runs one narrator until it ends, its time is up, or `isLast` says that it has said enough. */
async function live(narratorOrder: NarratorOrder, killAfterMs: number | undefined, isLast: (event: StoryEvent, heard: { tokens: number; stores: number }) => boolean): Promise<Life> {
  const tokens = [...narratorOrder.tokens];
  const heard = { tokens: 0, stores: 0 };
  const failures: unknown[] = [];
  const child = startNarrator(narratorOrder, (event, narrator) => {
    if (event.type === "token") {
      tokens.push(event.token);
      heard.tokens++;
    }
    if (event.type === "stored") heard.stores++;
    try {
      if (isLast(event, heard)) narrator.kill("SIGKILL");
    } catch (error) {
      failures.push(error);
      narrator.kill("SIGKILL");
    }
  });
  const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  const { code, signal } = await child.ended;
  clearTimeout(timer);
  if (failures.length > 0) throw failures[0];
  assert.ok(signal === "SIGKILL" || code === 0, `code ${code}, signal ${signal}`);
  return { tokens, signal };
}

function order(model: OpenModel, directory: string, tokens: readonly number[], life: number): NarratorOrder {
  return {
    modelPath: model.checkpointPath,
    tokenizerPath: model.tokenizerPath,
    name: model.name,
    directory,
    tokens,
    tokensMax,
    chunkTokens: 16,
    temperature: 0,
    seed: 1,
    blockOrderSeed: life + 1,
    paceMs: 1,
    measurePrefill: false,
  };
}

function scratch(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "kvferry-story-kill-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

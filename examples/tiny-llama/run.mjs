/**
 * A small engine that uses kvferry through its public face: a real language model with a paged KV cache, which stores its KV in
 * buffer-only mode, exits, and goes on in another process.
 *
 *   node examples/tiny-llama/run.mjs write    --dir DIR [--model FILE.bin] [--prompt TEXT] [--tokens N]
 *   node examples/tiny-llama/run.mjs continue --dir DIR
 *   node examples/tiny-llama/run.mjs both                   the two above, in two processes, in a temporary folder
 *   node examples/tiny-llama/run.mjs kill                   the story: SIGKILL in the middle of a sentence
 *
 * The model and its cache are in src/demo; everything about kvferry is in engine.mjs beside this file.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { runStoryDemo } from "../../dist/demo/story.js";
import { Engine } from "./engine.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    dir: { type: "string" },
    model: { type: "string" },
    prompt: { type: "string" },
    tokens: { type: "string", default: "100" },
    json: { type: "boolean", default: false },
  },
});
const commands = { write, continue: goOn, both, kill };
const command = commands[positionals[0] ?? "both"];
if (command === undefined) throw new RangeError(`unknown command ${positionals[0]}; known: ${Object.keys(commands).join(", ")}`);
process.exitCode = await command();

/** Process one: writes some text, stores every full chunk, leaves a note of what it wrote, and exits. */
async function write() {
  const engine = await Engine.open({ directory: join(folder(), "kv"), modelPath: values.model, blockOrderSeed: 1 });
  const startedAt = performance.now();
  const text = engine.start(values.prompt ?? "");
  engine.write(text, Number(values.tokens));
  const computedMs = performance.now() - startedAt;
  const chunks = await engine.save(text);
  say(`process ${process.pid} wrote ${text.tokens.length} tokens in ${computedMs.toFixed(0)} ms:`, `  ${engine.decode(text)}`);
  say(`stored ${chunks.length} chunks of ${engine.chunkTokens} tokens, ${chunks.length * engine.imageBytes} bytes of KV; L1 holds ${engine.l1UsedBytes} bytes now`);
  // What a client of a serving engine would remember: its text. The digests are only there to compare bytes.
  writeFileSync(note(), JSON.stringify({ model: values.model, tokens: text.tokens, chunks }));
  await engine.close();
  return 0;
}

/** Process two: finds the KV of that text on disk, compares it byte for byte, and goes on as if nothing had happened. */
async function goOn() {
  const before = JSON.parse(readFileSync(note(), "utf8"));
  const engine = await Engine.open({ directory: join(folder(), "kv"), modelPath: before.model, blockOrderSeed: 2 });
  const restoredAt = performance.now();
  const text = await engine.restore(before.tokens);
  const restoreMs = performance.now() - restoredAt;
  const restored = engine.records(text);
  const wrong = restored.filter((chunk, index) => chunk.digest !== before.chunks[index].digest).length;
  const moved = restored.filter((chunk, index) => String(chunk.blocks) !== String(before.chunks[index].blocks)).length;

  engine.write(text, before.tokens.length + 60);
  const alone = engine.start("", before.tokens);
  const prefillAt = performance.now();
  engine.compute(alone);
  const prefillMs = performance.now() - prefillAt;
  engine.write(alone, before.tokens.length + 60);
  const same = String(alone.tokens) === String(text.tokens);

  say(`process ${process.pid} found ${text.restoredTokens} of ${before.tokens.length} tokens on disk, in ${restored.length} chunks`);
  say(`${restored.length - wrong} of them have the bytes that process one had; ${moved} lie in other blocks than before`);
  say(`prefill saved: ${text.restoredTokens} tokens; ${restoreMs.toFixed(1)} ms to load, ${prefillMs.toFixed(1)} ms to compute`);
  say(`it goes on:`, `  ${engine.decode(text)}`);
  say(same ? "and an uninterrupted run writes the same tokens" : "BUT an uninterrupted run writes something else");
  await engine.close();
  return same && wrong === 0 && restored.length === before.chunks.length ? 0 : 1;
}

function both() {
  const dir = mkdtempSync(join(tmpdir(), "kvferry-tiny-llama-"));
  try {
    for (const step of ["write", "continue"]) {
      const options = ["model", "prompt", "tokens"].flatMap((name) => (values[name] === undefined ? [] : [`--${name}`, values[name]]));
      const { status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), step, "--dir", dir, ...options], { stdio: "inherit" });
      if (status !== 0) return 1;
    }
    return 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function kill() {
  const terminal = process.stdout.isTTY;
  const view = { write: (text) => void process.stdout.write(text), columns: terminal ? process.stdout.columns : undefined, color: terminal };
  const report = await runStoryDemo({ modelPath: values.model, prompt: values.prompt, view: values.json ? undefined : view });
  if (values.json) console.log(JSON.stringify(report, null, 2));
  return report.ok ? 0 : 1;
}

function folder() {
  if (values.dir === undefined) throw new RangeError("--dir is missing: the folder that both processes share");
  return values.dir;
}

function note() {
  return join(folder(), "text.json");
}

function say(...lines) {
  console.log(lines.join("\n"));
}

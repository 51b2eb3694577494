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
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { runStoryDemo } from "../../dist/demo/story.js";
import { Engine } from "./engine.mjs";

const help = `node examples/tiny-llama/run.mjs [COMMAND] [OPTIONS]

  write    --dir DIR [--model FILE.bin] [--prompt TEXT] [--tokens N]
                        writes a text, stores its KV in DIR and exits
  continue --dir DIR    another process finds that KV on disk and goes on
  both                  the two above, in two processes, in a temporary folder (this is what no command means)
  kill [--json]         the story: SIGKILL in the middle of a sentence
`;

/** What a person typed cannot be done: said in a sentence, without a stack. */
class UsageError extends Error {}

const stop = new AbortController();
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
const commands = { write, continue: goOn, both, kill };
let values;
try {
  process.exitCode = await main();
} catch (error) {
  if (stop.signal.aborted) process.exitCode = exitCodes[stop.signal.reason];
  else {
    // A model, folder or option that cannot be used needs no stack; anything else is a bug in this file.
    const expected = error instanceof UsageError || error instanceof RangeError || error.code !== undefined;
    console.error(`run.mjs: ${expected ? error.message : error.stack}`);
    process.exitCode = expected ? 2 : 1;
  }
}

async function main() {
  const parsed = parseArgs({
    allowPositionals: true,
    options: {
      dir: { type: "string" },
      model: { type: "string" },
      prompt: { type: "string" },
      tokens: { type: "string", default: "100" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  values = parsed.values;
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const name = parsed.positionals[0] ?? "both";
  if (!Object.hasOwn(commands, name)) throw new UsageError(`unknown command ${name}; known: ${Object.keys(commands).join(", ")}`);
  return commands[name]();
}

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
  if (!existsSync(note())) throw new UsageError(`there is no story in ${folder()}; write one first: run.mjs write --dir ${folder()}`);
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

async function both() {
  stopAtSignals();
  const dir = mkdtempSync(join(tmpdir(), "kvferry-tiny-llama-"));
  try {
    for (const step of ["write", "continue"]) {
      const options = ["model", "prompt", "tokens"].flatMap((name) => (values[name] === undefined ? [] : [`--${name}`, values[name]]));
      const child = spawn(process.execPath, [fileURLToPath(import.meta.url), step, "--dir", dir, ...options], { stdio: "inherit" });
      stop.signal.addEventListener("abort", () => child.kill(stop.signal.reason), { once: true });
      const [status] = await once(child, "exit");
      stop.signal.throwIfAborted();
      if (status !== 0) return status ?? 1;
    }
    return 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function kill() {
  stopAtSignals();
  const terminal = process.stdout.isTTY;
  const view = { write: (text) => void process.stdout.write(text), columns: terminal ? process.stdout.columns : undefined, color: terminal };
  const report = await runStoryDemo({ modelPath: values.model, prompt: values.prompt, view: values.json ? undefined : view, signal: stop.signal });
  if (values.json) console.log(JSON.stringify(report, null, 2));
  return report.ok ? 0 : 1;
}

function stopAtSignals() {
  for (const name of Object.keys(exitCodes)) process.on(name, () => stop.abort(name));
}

function folder() {
  if (values.dir === undefined) throw new UsageError("--dir is missing: the folder that both processes share");
  return values.dir;
}

function note() {
  return join(folder(), "text.json");
}

function say(...lines) {
  console.log(lines.join("\n"));
}

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { formatBytes } from "../base/bytes.ts";
import { findModel, openModel, type OpenModel } from "./model-files.ts";
import { startNarrator, type NarratorChild, type NarratorEnd } from "./narrator-child.ts";
import { newSequence } from "./narrator.ts";
import { Llama } from "./llama.ts";
import { chooseToken } from "./sampler.ts";
import { judge, type FirstHalf, type SecondHalf, type StoryReport } from "./story-report.ts";
import type { ChunkRecord, NarratorOrder, StoryEvent } from "./story-events.ts";
import { StoryView, type ViewTarget } from "./story-view.ts";
import { beginToken } from "./tokenizer.ts";

export interface StoryDemoOptions {
  /** A llama2.c checkpoint; default KVFERRY_MODEL, else the shipped model. */
  readonly modelPath?: string;
  /** Its tokenizer; default: looked for beside it. */
  readonly tokenizerPath?: string;
  /** L2 directory; default a temporary one that is deleted at the end. */
  readonly directory?: string;
  readonly prompt?: string;
  /** The text ends at this many tokens, or where the model ends it. */
  readonly tokensMax?: number;
  readonly chunkTokens?: number;
  /** 0 = the likeliest token always. */
  readonly temperature?: number;
  readonly seed?: number;
  /** Pause before each token; default 18 ms on a terminal, 2 ms elsewhere. */
  readonly paceMs?: number;
  /** Ends the story early: the narrator is killed, the directory deleted, and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Where to show the story; undefined shows nothing. */
  readonly view?: ViewTarget;
}

const sentenceWordsMin = 4;
const chunksBeforeKill = 2;
/** Parts of the whole text between which process one is killed. */
const killFrom = 0.55;
const killAtLatest = 0.75;

/**
 * The demo: process one writes a text and is killed with SIGKILL in the middle of a sentence; process two finds the sentence's KV on
 * disk and goes on. The caller compares the joined text with one that was never interrupted, and every restored byte with its original.
 */
export async function runStoryDemo(options: StoryDemoOptions = {}): Promise<StoryReport> {
  const model = openModel(findModel(options.modelPath, options.tokenizerPath));
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "kvferry-story-"));
  const deleteDirectory = (): void => {
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  };
  // Also when the process is told to leave at once.
  process.once("exit", deleteDirectory);
  const { contextLength } = model.checkpoint.shape;
  const order: Omit<NarratorOrder, "tokens" | "blockOrderSeed" | "measurePrefill"> = {
    modelPath: model.checkpointPath,
    tokenizerPath: model.tokenizerPath,
    name: model.name,
    directory,
    tokensMax: Math.min(options.tokensMax ?? 201, contextLength),
    chunkTokens: options.chunkTokens ?? 16,
    temperature: options.temperature ?? 0,
    seed: options.seed ?? 1,
    paceMs: options.paceMs ?? (options.view?.columns === undefined ? 2 : 18),
  };
  const prompt = model.tokenizer.encode(options.prompt ?? defaultPrompt(model));
  const view = options.view === undefined ? undefined : new StoryView(options.view);
  try {
    const expected = uninterrupted(model, prompt, order);
    const leastTokens = prompt.length + (chunksBeforeKill + 2) * order.chunkTokens;
    if (expected.length < leastTokens)
      throw new RangeError(`the story must have at least ${leastTokens} tokens to be interrupted, ${model.name} ends it after ${expected.length}; give another prompt`);
    showHeading(view, model);
    const first = await writeUntilKilled(model, { ...order, tokens: prompt, blockOrderSeed: 1, measurePrefill: false }, expected.length, view, options.signal);
    const second = await goOn(model, { ...order, tokens: first.tokens, blockOrderSeed: 2, measurePrefill: true }, view, options.signal);
    const report = judge({ model: model.modelName, text: model.tokenizer.decode(second.tokens), chunkTokens: order.chunkTokens, expected, first, second });
    showVerdict(view, report);
    return report;
  } finally {
    process.off("exit", deleteDirectory);
    deleteDirectory();
  }
}

/** Waits for the end of a narrator, which `signal` brings about early. */
async function endOf(child: NarratorChild, signal: AbortSignal | undefined): Promise<NarratorEnd> {
  const kill = (): void => child.kill("SIGKILL");
  signal?.addEventListener("abort", kill, { once: true });
  // Before the directory is deleted, in which it writes.
  process.prependOnceListener("exit", kill);
  if (signal?.aborted === true) kill();
  try {
    const end = await child.ended;
    signal?.throwIfAborted();
    return end;
  } finally {
    signal?.removeEventListener("abort", kill);
    process.off("exit", kill);
  }
}

/** The shipped model knows this beginning; any other model starts with nothing. */
function defaultPrompt(model: OpenModel): string {
  return model.name === "ferry" ? "Once a storm" : "";
}

/** The same text, written by this process alone and never stored. */
function uninterrupted(model: OpenModel, prompt: readonly number[], order: { tokensMax: number; temperature: number; seed: number }): number[] {
  const llama = new Llama(model.checkpoint);
  const sequence = newSequence(model, 0);
  const tokens = [...prompt];
  let logits = llama.prefill(tokens, sequence);
  while (tokens.length < order.tokensMax) {
    const token = chooseToken(logits, tokens.length - 1, order);
    if (token === beginToken) break;
    tokens.push(token);
    if (tokens.length < order.tokensMax) logits = llama.forward(token, sequence);
  }
  return tokens;
}

async function writeUntilKilled(model: OpenModel, order: NarratorOrder, expectedTokens: number, view: StoryView | undefined, signal: AbortSignal | undefined): Promise<FirstHalf> {
  const tokens = [...order.tokens];
  const stored: ChunkRecord[] = [];
  let killed = false;
  const child = startNarrator(order, (event, narrator) => {
    if (event.type === "stored") stored.push(event.chunk);
    // What was in the pipe when the signal was sent counts as written: a client has it.
    if (event.type !== "token") return;
    tokens.push(event.token);
    view?.prose(pieceText(model, tokens, tokens.length - 1), "cyan");
    if (killed || stored.length < chunksBeforeKill || tokens.length < expectedTokens * killFrom) return;
    // A model that writes no sentences is killed all the same.
    if (tokens.length < expectedTokens * killAtLatest && !isMidSentence(model.tokenizer.decode(tokens))) return;
    killed = true;
    narrator.kill("SIGKILL");
  });
  showProcess(view, child, "writes");
  view?.prose(model.tokenizer.decode(tokens), "gray");
  const end = await endOf(child, signal);
  view?.endProse();
  if (end.signal !== "SIGKILL") throw new Error(`process one ended by itself (code ${end.code}) before it could be killed after ${tokens.length} tokens`);
  const bytes = stored.reduce((sum, chunk) => sum + chunk.bytes, 0);
  view?.result("✗", `kill -9 ${child.pid}`, `in the middle of a sentence, ${tokens.length} tokens in. On disk: ${stored.length} chunks, ${formatBytes(bytes)}.`);
  view?.line();
  return { tokens, stored: stored.toSorted((a, b) => a.index - b.index), signal: end.signal };
}

async function goOn(model: OpenModel, order: NarratorOrder, view: StoryView | undefined, signal: AbortSignal | undefined): Promise<SecondHalf> {
  const tokens = [...order.tokens];
  let restored: SecondHalf["restored"] | undefined;
  let done: SecondHalf["done"] | undefined;
  const child = startNarrator(order, (event) => {
    if (event.type === "restored") {
      restored = event;
      showRestored(view, event, tokens.length);
      tokens.forEach((_, index) => view?.prose(pieceText(model, tokens, index), index < event.tokens ? "gray" : "reset"));
    } else if (event.type === "token") {
      tokens.push(event.token);
      view?.prose(pieceText(model, tokens, tokens.length - 1), "yellow");
    } else if (event.type === "done") done = event;
  });
  showProcess(view, child, "takes over");
  const end = await endOf(child, signal);
  view?.endProse();
  if (restored === undefined || done === undefined) throw new Error(`process two failed (code ${end.code}, signal ${end.signal})`);
  return { tokens, restored, done };
}

/** True a few words into a sentence, and not at its end. */
function isMidSentence(text: string): boolean {
  const sentence = text.slice(Math.max(...[...".!?\n"].map((mark) => text.lastIndexOf(mark))) + 1);
  return /\w$/.test(sentence) && sentence.split(" ").length > sentenceWordsMin;
}

function pieceText(model: OpenModel, tokens: readonly number[], index: number): string {
  return model.tokenizer.decodeBytes(tokens[Math.max(0, index - 1)], tokens[index]).toString("utf8");
}

function showHeading(view: StoryView | undefined, model: OpenModel): void {
  const { shape } = model.checkpoint;
  const bytesPerToken = 2 * shape.layerCount * shape.kvHeadCount * shape.headSize * 4;
  view?.heading("A story in two processes");
  view?.line(`${model.name}: a Llama of ${shape.layerCount} layers and ${shape.dim} dimensions, ${bytesPerToken} bytes of KV per token`);
  view?.line();
}

function showProcess(view: StoryView | undefined, child: NarratorChild, what: string): void {
  view?.line(`process ${child.pid} ${what}`);
}

function showRestored(view: StoryView | undefined, event: Extract<StoryEvent, { type: "restored" }>, tokens: number): void {
  view?.result("✓", `found ${event.tokens} of ${tokens} tokens on disk`, `in ${event.restoreMs.toFixed(1)} ms: ${event.chunks.length} chunks, checksums right, put into other blocks`);
  if (view?.color === true) view.line(`${view.paint("gray", "grey: from disk")}, plain: computed again, ${view.paint("yellow", "yellow: new")}`);
}

function showVerdict(view: StoryView | undefined, report: StoryReport): void {
  view?.result(
    report.wrongChunks === 0 ? "✓" : "✗",
    `${report.chunksRestored - report.wrongChunks} of ${report.chunksRestored} chunks have the bytes that process one had`,
    `(SHA-256 of each, taken in both processes)`,
  );
  view?.result("·", `prefill saved: ${report.restoredTokens} tokens`, `that take ${report.prefillMs.toFixed(1)} ms to compute here and took ${report.restoreMs.toFixed(1)} ms to load`);
  view?.result(
    report.textEqual ? "✓" : "✗",
    report.textEqual ? "the same sentence:" : "the story changed:",
    report.textEqual ? `all ${report.tokens} tokens are those of a run that nobody interrupted` : "the joined text differs from a run that nobody interrupted",
  );
  view?.line();
}

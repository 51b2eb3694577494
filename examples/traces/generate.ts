/**
 * Makes examples/traces/chat.jsonl, the small trace that kvferry ships: `node .build/examples/traces/generate.js > examples/traces/chat.jsonl`.
 *
 * It imitates ten minutes of a chat service in Mooncake's format (blocks of 512 tokens): three applications with their own system
 * prompts, documents that several users ask about, and conversations whose every turn repeats all turns before it. So prefixes are
 * shared between users (system prompt, document) and within a conversation (history), as in real serving. Everything follows from
 * one seed; no real text or user is behind it.
 */
import { SeededRandom, type Random } from "../../src/base/random.ts";

const seed = 20260101;
const blockTokens = 512;
const requestCount = 320;
const sessionsPerSecond = 0.16;

interface Segment {
  readonly name: string;
  readonly tokens: number;
}

interface Application {
  readonly systemPrompt: Segment;
  readonly documents: readonly Segment[];
  /** Part of all conversations. */
  readonly share: number;
}

interface Turn {
  readonly atMs: number;
  readonly prompt: readonly Segment[];
  readonly outputTokens: number;
}

const random = new SeededRandom(seed);

function application(name: string, share: number, systemTokens: number, documentCount: number, documentTokens: number): Application {
  const documents = Array.from({ length: documentCount }, (_, index) => ({
    name: `${name}/document-${index}`,
    tokens: Math.round(documentTokens * (0.5 + random.nextFloat())),
  }));
  return { systemPrompt: { name: `${name}/system`, tokens: systemTokens }, documents, share };
}

const applications = [application("assistant", 0.5, 1_300, 0, 0), application("handbook", 0.3, 700, 9, 6_000), application("code", 0.2, 2_400, 6, 11_000)];

/** Exponentially distributed with this mean. */
function exponential(source: Random, mean: number): number {
  return -mean * Math.log(1 - source.nextFloat());
}

function pickApplication(): Application {
  let point = random.nextFloat();
  for (const candidate of applications) {
    point -= candidate.share;
    if (point < 0) return candidate;
  }
  return applications[0];
}

function conversation(index: number, startMs: number): Turn[] {
  const { systemPrompt, documents } = pickApplication();
  const prompt: Segment[] = [systemPrompt];
  // Squaring makes the first documents popular and the last ones rare.
  if (documents.length > 0) prompt.push(documents[Math.floor(random.nextFloat() ** 2 * documents.length)]);
  const turnCount = 1 + Math.floor(exponential(random, 3));
  const turns: Turn[] = [];
  let atMs = startMs;
  for (let turn = 0; turn < turnCount; turn++) {
    prompt.push({ name: `session-${index}/user-${turn}`, tokens: 15 + Math.round(exponential(random, 180)) });
    const outputTokens = 20 + Math.round(exponential(random, 260));
    turns.push({ atMs: Math.round(atMs), prompt: [...prompt], outputTokens });
    prompt.push({ name: `session-${index}/answer-${turn}`, tokens: outputTokens });
    atMs += 4_000 + exponential(random, 25_000);
  }
  return turns;
}

const hashIds = new Map<string, number>();

/**
 * One id per block. A block is what it contains and all before it: the names of the segments up to its end, and where it ends. The
 * last one, partial or not, has an id of its own, which a longer prompt shares only when its block ends at the same token.
 */
function blocksOf(prompt: readonly Segment[], tokens: number): number[] {
  const ids: number[] = [];
  for (let start = 0; start < tokens; start += blockTokens) {
    const end = Math.min(start + blockTokens, tokens);
    const names: string[] = [];
    let segmentStart = 0;
    for (const segment of prompt) {
      if (segmentStart >= end) break;
      names.push(segment.name);
      segmentStart += segment.tokens;
    }
    const identity = `${names.join(" ")} ..${end}`;
    if (!hashIds.has(identity)) hashIds.set(identity, hashIds.size);
    ids.push(hashIds.get(identity) as number);
  }
  return ids;
}

const turns: Turn[] = [];
for (let index = 0, startMs = 0; turns.length < requestCount * 1.4; index++) {
  turns.push(...conversation(index, startMs));
  startMs += exponential(random, 1000 / sessionsPerSecond);
}
turns.sort((a, b) => a.atMs - b.atMs);
for (const turn of turns.slice(0, requestCount)) {
  const tokens = turn.prompt.reduce((sum, segment) => sum + segment.tokens, 0);
  const row = { timestamp: turn.atMs, input_length: tokens, output_length: turn.outputTokens, hash_ids: blocksOf(turn.prompt, tokens) };
  process.stdout.write(`${JSON.stringify(row)}\n`);
}

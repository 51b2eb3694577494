/**
 * Traces in Mooncake's format: one JSON object per line, plain or gzip,
 * `{"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [chunk, ...]}`, in the order the requests came.
 * A hash id stands for one chunk and everything before it, so equal ids mean equal prefixes. The variant with `session` (agent
 * traces) carries the session's name; other fields are ignored, because public traces add their own.
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";

import { errorText, TraceError } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";

export interface TraceRequest {
  readonly timestampMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly hashIds: readonly number[];
  readonly session?: string;
  /** Line in the file, from 1. */
  readonly line: number;
}

export interface ReadTraceOptions {
  /** Stop after this many requests. */
  readonly limit?: number;
  /** Called for each broken line instead of throwing; the line is left out. */
  readonly onBrokenLine?: (error: TraceError) => void;
}

/** The longest prompt of the public traces needs 3 KB; a line beyond this is not a trace, and must not fill the memory. */
const lineCharactersMax = 16 * 1024 * 1024;

/** Requests of the trace at `path`, in order. Throws TraceError naming file and line at the first line that is broken. */
export async function* readTrace(path: string, options: ReadTraceOptions = {}): AsyncGenerator<TraceRequest> {
  const limit = options.limit ?? Infinity;
  if (limit <= 0) return;
  let count = 0;
  let lineNumber = 0;
  for await (const text of readLines(path, () => lineNumber + 1)) {
    lineNumber++;
    if (text.trim() === "") continue;
    let request: TraceRequest;
    try {
      request = parseTraceLine(text, path, lineNumber);
    } catch (error) {
      if (!(error instanceof TraceError) || options.onBrokenLine === undefined) throw error;
      options.onBrokenLine(error);
      continue;
    }
    yield request;
    if (++count >= limit) return;
  }
}

/** One line of a trace. Throws TraceError that names `path`, the line and what is wrong with it. */
export function parseTraceLine(text: string, path: string, line: number): TraceRequest {
  const broken = (problem: string): TraceError => new TraceError(line, `${path}:${line}: ${problem}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw broken(`not JSON (${errorText(error)})`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw broken(`expected a JSON object, got ${kindOf(value)}`);
  const row = value as Record<string, unknown>;
  for (const field of ["timestamp", "input_length", "output_length", "hash_ids"])
    if (!(field in row)) throw broken(`${field} is missing${didYouMean(field, Object.keys(row))}`);
  const number = (field: string, integer: boolean): number => {
    const got = row[field];
    if (typeof got !== "number" || !Number.isFinite(got) || got < 0 || (integer && !Number.isSafeInteger(got)))
      throw broken(`${field} must be ${integer ? "an integer" : "a number"} of 0 or more, got ${show(got)}`);
    return got;
  };
  const hashIds = row.hash_ids;
  if (!Array.isArray(hashIds)) throw broken(`hash_ids must be an array of integers, got ${kindOf(hashIds)}`);
  const seen = new Set<unknown>();
  for (let index = 0; index < hashIds.length; index++) {
    const id: unknown = hashIds[index];
    if (!Number.isSafeInteger(id) || (id as number) < 0)
      throw broken(`hash_ids[${index}] must be an integer in [0, 2^53), got ${show(id)}`);
    // An id names a whole prefix, and a prefix cannot be a longer one of the same prompt.
    if (seen.has(id)) throw broken(`hash_ids[${index}] repeats ${show(id)}: a prefix occurs once in a prompt`);
    seen.add(id);
  }
  const session = row.session;
  if (session !== undefined && typeof session !== "string") throw broken(`session must be a string, got ${kindOf(session)}`);
  return {
    timestampMs: number("timestamp", false),
    inputTokens: number("input_length", true),
    outputTokens: number("output_length", true),
    hashIds: hashIds as number[],
    ...(session === undefined ? {} : { session }),
    line,
  };
}

/** Lines of a text file, unpacked when it starts with gzip's magic bytes, whatever its name says. */
async function* readLines(path: string, nextLine: () => number): AsyncGenerator<string> {
  const compressed = await isGzip(path);
  const file = createReadStream(path);
  let source: Readable = file;
  if (compressed) {
    const gunzip = createGunzip();
    file.on("error", (error) => gunzip.destroy(error));
    source = file.pipe(gunzip);
  }
  const decoder = new TextDecoder("utf-8", { ignoreBOM: false });
  let rest = "";
  try {
    for await (const piece of source as AsyncIterable<Buffer>) {
      rest += decoder.decode(piece, { stream: true });
      let start = 0;
      for (let end = rest.indexOf("\n"); end !== -1; end = rest.indexOf("\n", start)) {
        yield rest.slice(start, end);
        start = end + 1;
      }
      rest = rest.slice(start);
      if (rest.length > lineCharactersMax)
        throw new TraceError(nextLine(), `${path}:${nextLine()}: line is longer than ${lineCharactersMax} characters; this is not a trace`);
    }
    if (rest !== "") yield rest;
  } catch (error) {
    if (error instanceof TraceError) throw error;
    const cut = compressed ? "; the file is cut short or damaged: what was read before that is not used, and --skip-broken-lines cannot skip it" : "";
    throw new TraceError(nextLine(), `${path}:${nextLine()}: cannot be read on (${errorText(error)})${cut}`, { cause: error });
  } finally {
    file.destroy();
  }
}

async function isGzip(path: string): Promise<boolean> {
  let file;
  try {
    file = await open(path, "r");
    const head = Buffer.alloc(2);
    const { bytesRead } = await file.read(head, 0, 2, 0);
    return bytesRead === 2 && head[0] === 0x1f && head[1] === 0x8b;
  } catch (error) {
    throw new TraceError(0, `${path}: cannot be opened as a trace (${errorText(error)})`, { cause: error });
  } finally {
    await file?.close();
  }
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}

import type { Clock } from "./clock.ts";

/** What the rooms log through. `kind` is a stable word for one sort of event; it is what rate limiting works on. */
export interface Logger {
  debug(kind: string, message: string): void;
  info(kind: string, message: string): void;
  warn(kind: string, message: string): void;
  error(kind: string, message: string): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";
const levels: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];

/** Says nothing; the default of the library, whose errors and counters speak for it. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** WARN and ERROR of one kind are written at most once per this time; the line that ends the pause says how many were held back. */
const repeatPauseMs = 10_000;

/** Writes lines at or above `level` to `sink`, limiting repeats of warnings and errors by kind. */
export function createLogger(level: LogLevel, clock: Clock, sink: (line: string) => void): Logger {
  const threshold = levels.indexOf(level);
  const lastByKind = new Map<string, { atMs: number; held: number }>();
  function write(lineLevel: LogLevel, message: string): void {
    if (levels.indexOf(lineLevel) >= threshold) sink(`${lineLevel.toUpperCase()} ${message}`);
  }
  function writeLimited(lineLevel: LogLevel, kind: string, message: string): void {
    const nowMs = clock.nowMs();
    const last = lastByKind.get(kind);
    if (last !== undefined && nowMs - last.atMs < repeatPauseMs) {
      last.held++;
      return;
    }
    const suffix = last !== undefined && last.held > 0 ? ` (${last.held} more of this kind since the last line)` : "";
    lastByKind.set(kind, { atMs: nowMs, held: 0 });
    write(lineLevel, message + suffix);
  }
  return {
    debug: (_kind, message) => write("debug", message),
    info: (_kind, message) => write("info", message),
    warn: (kind, message) => writeLimited("warn", kind, message),
    error: (kind, message) => writeLimited("error", kind, message),
  };
}

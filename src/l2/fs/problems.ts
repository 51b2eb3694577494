import { getSystemErrorName } from "node:util";

import type { Logger } from "../../base/log.ts";

/** What is wrong now, by kind; a kind is cleared when its work succeeds again. */
export class Problems {
  readonly #name: string;
  readonly #logger: Logger;
  readonly #texts = new Map<string, string>();

  constructor(name: string, logger: Logger) {
    this.#name = name;
    this.#logger = logger;
  }

  set(kind: string, problem: string): void {
    if (this.#texts.get(kind) === problem) return;
    this.#texts.set(kind, problem);
    this.#logger.warn(`fs-${kind}`, `${this.#name}: ${problem}`);
  }

  clear(kind: string): void {
    if (this.#texts.delete(kind)) this.#logger.info(`fs-${kind}`, `${this.#name}: ${kind} problem is over`);
  }

  has(kind: string): boolean {
    return this.#texts.has(kind);
  }

  list(): string[] {
    return [...this.#texts.values()];
  }
}

/** `ENOSPC` for -28. */
export function errnoName(status: number): string {
  return getSystemErrorName(status);
}

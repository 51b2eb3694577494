/** Reads the oracle vectors: recorded answers of LMCache 0.5.6's own classes. They are shared between checkouts, not shipped. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";

import { packageRoot } from "../../src/native/load.ts";

export function oracleDirectory(): string {
  return process.env.KVFERRY_ORACLE_DIR ?? resolve(packageRoot(), "../shared/data/oracle");
}

/**
 * Runs `define` with the vectors of `name` so that it can declare tests. Where the file is absent, declares one skipped test that says
 * which file was looked for.
 */
export function withVectors<V>(name: string, define: (vectors: V) => void): void {
  const path = join(oracleDirectory(), `${name}.json.gz`);
  if (!existsSync(path)) {
    test(`oracle vectors ${name}`, { skip: `${path} is absent; set KVFERRY_ORACLE_DIR` }, () => {});
    return;
  }
  const vectors = JSON.parse(gunzipSync(readFileSync(path)).toString("utf8")) as V & { format: string };
  if (vectors.format !== "kvferry-oracle/1") throw new Error(`${path}: format ${vectors.format}, expected kvferry-oracle/1`);
  define(vectors);
}

/** A bit string of the vectors, index 0 first, as one byte per bit. */
export function cellsOf(bits: string): Uint8Array {
  return Uint8Array.from(bits, (bit) => (bit === "1" ? 1 : 0));
}

export function bitsOf(cells: Uint8Array): string {
  return cells.join("");
}

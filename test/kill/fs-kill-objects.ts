/** Objects that writer and checker can both make from their number. */
import { createHash } from "node:crypto";

import { SeededRandom } from "../../src/base/random.ts";
import { type KeyBatch, packKeys } from "../../src/keys/key-batch.ts";
import { imageFingerprint } from "../../src/keys/layout.ts";
import type { NamespaceTable } from "../../src/keys/namespace.ts";

/** Sizes repeat, so that a batch of neighbours has several. */
export function sizeOf(number: number): number {
  return [1, 4096, 40_000, 250_000][number % 4] + (number % 7);
}

export function payloadOf(number: number): Uint8Array {
  const random = new SeededRandom(number);
  const bytes = new Uint8Array(sizeOf(number));
  for (let index = 0; index < bytes.length; index++) bytes[index] = index % 64 === 0 ? random.nextBelow(256) : (bytes[index - 1] * 31 + number) & 0xff;
  return bytes;
}

export function keyOf(number: number, namespaces: NamespaceTable): KeyBatch {
  const chunkHash = new Uint8Array(createHash("sha256").update(`kill-${number}`).digest());
  const key = { chunkHash, modelName: "kill", kvRank: 0x01000100, objectGroupId: 0, cacheSalt: number % 2 === 0 ? "" : "tenant" };
  return packKeys([key], imageFingerprint({ sizeBytes: sizeOf(number) }), namespaces);
}

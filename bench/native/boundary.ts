/**
 * What the native boundary costs the JavaScript thread: `npm run build:dev && node .build/bench/native/boundary.js`.
 *
 * Prints one JSON object: millions of slots, keys or references per second in batches of 64 (the best of nine rounds, on CPU time
 * of the process, so that a busy host disturbs less), bytes per key and per slot, and microseconds per call. `kvferry bench copy` measures
 * the copies and checksums themselves.
 */
import { randomBytes } from "node:crypto";

import { loadBinding } from "../../src/native/load.ts";

const native = loadBinding();
const batch = 64;
const calls = 10_000;
const rounds = 9;

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Millions of items per second of `call`, which handles `items` of them. */
function millionsPerSecond(items: number, call: (i: number) => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round += 1) {
    const start = cpuMs();
    for (let i = 0; i < calls; i += 1) call(i);
    best = Math.min(best, cpuMs() - start);
  }
  return Number(((items * calls) / best / 1000).toFixed(1));
}

function slots() {
  const arena = new native.Arena({ sizeBytes: 4 * 2 ** 30 });
  const refs = new Uint32Array(2 * batch);
  const empty = millionsPerSecond(batch, () => {
    arena.allocate(2 ** 20, batch, refs);
    arena.free(refs);
  });
  const resident: Uint32Array[] = [];
  for (let slot = 0; slot < 1_000_000; slot += batch) {
    const taken = new Uint32Array(2 * batch);
    arena.allocate(4096, batch, taken);
    resident.push(taken);
  }
  const bytesPerSlot = arena.stats().bookkeepingBytes / arena.stats().slotCount;
  const churn = millionsPerSecond(batch, (i) => {
    const chosen = resident[(i * 7919) % resident.length];
    arena.free(chosen);
    arena.allocate(4096, batch, chosen);
  });
  const inOut = millionsPerSecond(batch, (i) => {
    const chosen = resident[i % 8];
    arena.beginIo(chosen);
    arena.endIo(chosen);
  });
  for (const taken of resident) arena.free(taken);
  arena.close();
  return { allocateAndFree: empty, allocateAndFreeAmongAMillion: churn, beginAndEndIo: inOut, bytesPerSlot: Number(bytesPerSlot.toFixed(2)) };
}

function keys() {
  const table = new native.InternTable(32, 16);
  const count = 1_000_000;
  const records = randomBytes(count * table.recordBytes);
  for (let key = 0; key < count; key += 1) records.fill(key & 7, key * 48 + 32, (key + 1) * 48);
  const batches = Array.from({ length: count / batch }, (_, i) => records.subarray(i * batch * 48, (i + 1) * batch * 48));
  const ids = new Uint32Array(batch);
  const few = millionsPerSecond(batch, (i) => {
    table.intern(batches[i % 8], ids);
    table.release(ids);
  });
  for (const keysOfBatch of batches) table.intern(keysOfBatch, ids);
  const bytesPerKey = table.memoryBytes() / table.size;
  const present = millionsPerSecond(batch, (i) => {
    table.intern(batches[(i * 7919) % batches.length], ids);
    table.release(ids);
  });
  const find = millionsPerSecond(batch, (i) => table.find(batches[(i * 7919) % batches.length], ids));
  return { internAndRelease: few, internAndReleaseAmongAMillion: present, findAmongAMillion: find, bytesPerKey: Number(bytesPerKey.toFixed(2)) };
}

function opening() {
  const timed = (sizeBytes: number) => {
    const start = performance.now();
    new native.Arena({ sizeBytes }).close();
    return Number((performance.now() - start).toFixed(2));
  };
  return { "32MiB": timed(32 * 2 ** 20), "16GiB": timed(16 * 2 ** 30), "512GiB": timed(512 * 2 ** 30) };
}

function hashes() {
  const tokens = new Uint32Array(16_384);
  const prefix = new Uint8Array(32);
  const perCall = (items: number, call: () => void) => Number((items / millionsPerSecond(items, call)).toFixed(2));
  return { chunkHashesOf16384TokensUs: perCall(1000, () => native.chunkHashes(tokens, 256, prefix)) };
}

console.log(JSON.stringify({ node: process.version, ...native.buildInfo(), millionsPerSecond: { slots: slots(), keys: keys() }, openAndCloseMs: opening(), hashes: hashes() }, null, 2));

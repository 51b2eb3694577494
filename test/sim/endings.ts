import type { KeyBatch } from "../../src/keys/key-batch.ts";
import { WriteStatus } from "../../src/l1/index.ts";
import { isPayloadOf, payloadOf } from "./payload.ts";
import { keyText, recordOf } from "./sim-adapter.ts";
import { SimFailure, type World } from "./world.ts";

/** Quiescence (law 4, R5): everybody has gone and every adapter is well, so nothing may be held any more. */
export async function checkDrained(world: World): Promise<void> {
  const { storage, plan, faults, settlements } = world;
  faults.heal();
  for (const adapter of world.adapters) adapter.release();
  // Abandoned writes and reads end by their time to live; copies of readers that went away end by themselves.
  await world.sleep(1_000 * Math.max(plan.writeTtlSeconds, plan.readTtlSeconds) + 5_000);
  await world.within("idle", 60_000, [], () => storage.idle());
  await world.sleep(5_000);
  const audit = storage.audit();
  const leftovers = { ...audit, problems: audit.problems.length, settlements: settlements.waiting, slotsInIo: audit.arena.slotsInIo, drainingBytes: audit.arena.drainingBytes };
  for (const name of ["problems", "openObligations", "openObligationKeys", "leases", "openWrites", "waiting", "loadsInFlight", "prefetchTurns", "prefetchQueue", "joinedKeys", "settlements", "slotsInIo", "drainingBytes"] as const)
    if (leftovers[name] !== 0) throw new SimFailure(`at rest ${name} is ${leftovers[name]}`);
  if (plan.bufferOnly && !plan.policiesThrow) checkEmpty(world, "buffer-only at rest");
  checkEndings(world);
  storage.clearL1({ force: true });
  checkEmpty(world, "cleared at rest");
}

function checkEmpty(world: World, when: string): void {
  const audit = world.storage.audit();
  if (audit.arena.usedBytes !== 0) throw new SimFailure(`${when}: ${audit.arena.usedBytes} bytes are in use`);
  if (audit.objects !== 0) throw new SimFailure(`${when}: ${audit.objects} objects are there`);
  if (audit.saltsWithBytes !== 0) throw new SimFailure(`${when}: ${audit.saltsWithBytes} salts hold bytes`);
  // ARC remembers keys that are gone, which keeps their ids interned.
  if (audit.internedKeys !== 0 && world.plan.evictionPolicy !== "ARC" && !world.plan.policiesThrow) throw new SimFailure(`${when}: ${audit.internedKeys} keys are interned`);
}

/** Every obligation ended once, by the storage's count, by the clients' and by the adapters'. */
function checkEndings(world: World): void {
  const { counters, settlements, adapters } = world;
  const created = counters.total("kvferry_obligations_created_total");
  const ended = (ending: string): number => counters.total("kvferry_obligations_ended_total", { ending });
  const same = (what: string, ours: number, theirs: number): void => {
    if (ours !== theirs) throw new SimFailure(`${what}: ${ours} expected, ${theirs} counted`);
  };
  same("obligations created", settlements.published, created);
  same("obligations stored", settlements.stored, ended("stored"));
  same("obligations failed", settlements.failed, ended("failed"));
  same("obligations dropped", settlements.dropped, ended("dropped"));
  same("obligations ended", created, ended("stored") + ended("failed") + ended("dropped"));
  for (const adapter of adapters) {
    const storedCount = counters.total("kvferry_store_keys_total", { adapter: adapter.name, ending: "stored" });
    const lateAnswers = counters.total("kvferry_store_late_answers_total", { adapter: adapter.name });
    if (lateAnswers === 0) same(`keys stored in ${adapter.name}`, adapter.storedAnswers, storedCount);
    else if (storedCount > adapter.storedAnswers) throw new SimFailure(`${adapter.name} stored ${adapter.storedAnswers} keys and ${storedCount} were counted`);
  }
}

/** After everything that went wrong, a healed storage stores and loads like a new one (R2, R7). */
export async function checkStillWorks(world: World): Promise<void> {
  const { storage, plan } = world;
  if (plan.policiesThrow) return;
  for (let document = 0; document < plan.documents; document++) await checkReadable(world, document);
  for (const document of Array.from({ length: plan.documents }, (_, index) => index)) {
    const rows = world.rows(document, 0, 1);
    const write = await world.within("last write", 60_000, [], () => storage.reserveWriteRows(rows, { timeoutMs: 60_000 }));
    if (write === undefined) return;
    for (let position = 0; position < write.count; position++)
      write.slots[position].write(payloadOf(recordOf(write.keys, write.keyIndices[position]), write.slots[position].sizeBytes));
    world.noteCommitted(write.keys, write.keyIndices);
    const isThere = write.statuses.every((status) => status === WriteStatus.granted || status === WriteStatus.resident);
    if (!isThere) throw new SimFailure(`the last write of document ${document} was answered ${write.statuses.join(",")}`);
    const stored = await write.commit();
    const settlement = await stored.settled;
    world.settlements.published += stored.publishedCount;
    // The mock may be full, which is an answer.
    if (settlement.storedKeys !== stored.publishedCount && storage.adapters.length > 0 && !plan.withMock)
      throw new SimFailure(`the last write of document ${document} settled ${JSON.stringify(settlement)}`);
    if (storage.adapters.length === 0 && plan.storePolicy === "skip_l1") continue;
    const read = await world.within("last read", plan.loadDeadlineMs, [], () => storage.prefetchRows(rows));
    if (read === undefined) return;
    if (read.hitCount !== 1 && !liedAbout(world)) throw new SimFailure(`the last read of document ${document} hit ${read.hitCount} of 1 chunk`);
    read.slots.forEach((slot, position) => {
      if (!isPayloadOf(slot.copyOut(), recordOf(read.grid.keys, position))) throw new SimFailure("the last read gave wrong bytes");
    });
    await read.release();
    // A load that came too late for this read still needs its room.
    await world.within("idle", 60_000, [], () => storage.idle());
    // Without eviction nothing leaves such an L1 by itself: that is what the configuration's warning says.
    if (plan.evictionPolicy === "noop" && plan.storePolicy === "default") storage.clearL1({ force: true });
  }
}

/** A healed storage finds at least the prefix that its adapters hold, as far as the loads' share of L1 reaches. */
async function checkReadable(world: World, document: number): Promise<void> {
  const { storage, plan } = world;
  const adapters = world.adapters.filter((adapter) => storage.adapters.includes(adapter));
  const rows = world.rows(document, 0, plan.chunksPerDocument);
  const isHeld = (chunk: number): boolean => rows.every(({ keys }) => adapters.some((adapter) => adapter.held.has(keyText(keys as KeyBatch, chunk))));
  let heldChunks = 0;
  while (heldChunks < plan.chunksPerDocument && isHeld(heldChunks)) heldChunks++;
  // Shares leave loads at least half, less one object that is always left to stores.
  const fittingChunks = Math.max(1, Math.floor((0.5 * plan.l1SizeBytes) / plan.chunkBytes) - 1);
  const read = await world.within("healed read", 60_000, [], () => storage.prefetchRows(rows, { deadlineMs: 60_000 }));
  if (read === undefined) return;
  const expected = Math.min(heldChunks, fittingChunks);
  if (read.hitCount < expected) throw new SimFailure(`document ${document} has ${heldChunks} leading chunks in its adapters, ${fittingChunks} fit into L1, and a read hits ${read.hitCount}`);
  await read.release();
  await world.within("idle", 60_000, [], () => storage.idle());
  storage.clearL1({ force: true });
}

/** Adapters that said "stored" and were not, or were robbed: a miss at the end is right then. Slow adapters may miss a short deadline. */
function liedAbout(world: World): boolean {
  return world.faults.counts.has("store_lie") || world.faults.counts.has("lost_behind_back") || world.plan.loadDeadlineMs < 200;
}

/** After close: adapters are closed, timers come to an end, and nothing rejects on the way. */
export async function checkClosed(world: World): Promise<void> {
  const { storage, adapters } = world;
  const report = await storage.close();
  if (report.memoryKept && !world.copiesAtClose && !world.plan.rates.close_reject) throw new SimFailure("memory was kept after every adapter had closed");
  for (const adapter of adapters) if (!adapter.closed) throw new SimFailure(`${adapter.name} was never closed`);
  await world.sleep(7_200_000);
  if (world.settlements.waiting !== 0) throw new SimFailure(`${world.settlements.waiting} settlements never came`);
  if (storage.waitingCount !== 0) throw new SimFailure(`${storage.waitingCount} requests wait in a closed storage`);
}

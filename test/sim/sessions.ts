import type { ReadHandle, StoredWrite, WriteHandle } from "../../src/storage/index.ts";
import { isPayloadOf, payloadOf } from "./payload.ts";
import { keyText, recordOf } from "./sim-adapter.ts";
import type { World } from "./world.ts";

const noRoom = ["KVFERRY_CAPACITY_TIMEOUT", "KVFERRY_CAPACITY_QUEUE_FULL"];

/** One simulated engine: writes and reads prefixes of a few documents, politely or not. */
export async function runClient(world: World): Promise<void> {
  const { plan, random } = world;
  const writeShare = [0.2, 0.3, 0.7][random.nextBelow(3)];
  for (let operation = 0; operation < plan.operationsPerClient && !world.closing && world.failure === undefined; operation++) {
    if (random.nextFloat() < writeShare) await writeOnce(world);
    else await readOnce(world);
    if (random.nextFloat() < 0.3) await world.sleep(random.nextBelow(200));
  }
}

/** A signal that fires at a random moment, now and then. */
function drawSignal(world: World, withinMs: number): AbortSignal | undefined {
  if (!world.faults.strikes("caller_abort")) return undefined;
  const controller = new AbortController();
  const delayMs = world.random.nextBelow(Math.max(1, withinMs));
  if (delayMs === 0) controller.abort();
  else world.clock.setTimer(delayMs, () => controller.abort());
  return controller.signal;
}

function drawRange(world: World): { document: number; first: number; count: number } {
  const { plan, random } = world;
  const document = random.nextBelow(plan.documents);
  const first = random.nextFloat() < 0.5 ? 0 : random.nextBelow(plan.chunksPerDocument);
  const count = 1 + random.nextBelow(plan.chunksPerDocument - first);
  if (count * plan.chunkBytes > plan.l1SizeBytes) world.faults.note("prefix_larger_than_l1");
  return { document, first, count };
}

// -------------------------------------------------------------------------------------------------------------- writing

export async function writeOnce(world: World): Promise<void> {
  const { plan, random, faults } = world;
  const { document, first, count } = drawRange(world);
  const rows = world.rows(document, first, count, faults.strikes("duplicate_key"));
  const timeoutMs = random.nextFloat() < 0.5 ? undefined : [0, 10, 3_000][random.nextBelow(3)];
  const limitMs = timeoutMs ?? plan.storeWaitMs;
  const signal = drawSignal(world, 2 * limitMs);
  const handle = await world.within(`write ${document}/${first}+${count}`, limitMs, [...noRoom, "ABORT_ERR"], () =>
    world.storage.reserveWriteRows(rows, { timeoutMs, signal }),
  );
  if (handle === undefined) return;
  world.checkFresh(handle.refs);
  world.note(`granted ${handle.count} of ${handle.keys.count}`);
  if (await fill(world, handle)) await finishWrite(world, handle);
}

/** Writes the payload in two halves with time in between. Returns false when the write has ended meanwhile. */
async function fill(world: World, handle: WriteHandle): Promise<boolean> {
  const { random, plan } = world;
  const pauseMs = random.nextFloat() < 0.3 ? random.nextBelow(plan.writeTtlSeconds === 1 ? 3_000 : 100) : 0;
  for (const half of [0, 1]) {
    if (half === 1 && pauseMs > 0) await world.sleep(pauseMs);
    for (let position = 0; position < handle.count; position++) {
      const slot = handle.slots[position];
      const payload = payloadOf(recordOf(handle.keys, handle.keyIndices[position]), slot.sizeBytes);
      const middle = payload.length >>> 1;
      try {
        if (half === 0) slot.write(payload.subarray(0, middle));
        else slot.write(payload.subarray(middle), middle);
      } catch (error) {
        // Only a write whose time ran out, or that a close has aborted, may lose its slots.
        if (handle.state === "open") world.fail(`an open write lost its slot: ${String(error)}`);
        return false;
      }
    }
  }
  return handle.state === "open";
}

async function finishWrite(world: World, handle: WriteHandle): Promise<void> {
  const { random, faults } = world;
  if (faults.strikes("write_abandoned")) return;
  if (random.nextFloat() < 0.1) {
    handle.abort();
    world.note("aborted");
    return;
  }
  world.noteCommitted(handle.keys, handle.keyIndices);
  const committedMs = world.clock.nowMs();
  const committedJumpedMs = world.jumpedMs;
  const stored = await world.within("commit", 0, [], () => handle.commit());
  if (stored === undefined) return;
  if (stored.publishedCount + stored.lostRaceCount !== handle.count) world.fail(`a commit of ${handle.count} objects answered ${stored.publishedCount} published and ${stored.lostRaceCount} lost`);
  void followSettlement(world, handle, stored, committedMs, committedJumpedMs);
  if (faults.strikes("double_commit")) await world.within("second commit", 0, ["KVFERRY_STATE"], async () => handle.commit());
}

/** Every object that a commit published ends in exactly one way, and in time. */
async function followSettlement(world: World, handle: WriteHandle, stored: StoredWrite, committedMs: number, committedJumpedMs: number): Promise<void> {
  const { settlements, plan } = world;
  settlements.published += stored.publishedCount;
  settlements.waiting++;
  const { storedKeys, failedKeys, droppedKeys } = await stored.settled;
  settlements.waiting--;
  settlements.stored += storedKeys;
  settlements.failed += failedKeys;
  settlements.dropped += droppedKeys;
  world.note(`settled ${storedKeys}/${failedKeys}/${droppedKeys}`);
  if (storedKeys + failedKeys + droppedKeys !== stored.publishedCount) world.fail(`a commit published ${stored.publishedCount} objects and settled ${storedKeys} + ${failedKeys} + ${droppedKeys}`);
  if (storedKeys === handle.count && storedKeys > 0) checkStoredEverywhere(world, handle);
  const tookMs = world.clock.nowMs() - committedMs - (world.jumpedMs - committedJumpedMs);
  if (tookMs > plan.storeDeadlineMs + 1) world.fail(`a commit settled after ${tookMs} ms, the store deadline is ${plan.storeDeadlineMs}`);
}

/** What was reported stored is in every adapter, where adapters tell the truth, stay, and keep what they have. */
function checkStoredEverywhere(world: World, handle: WriteHandle): void {
  const { rates } = world.plan;
  for (const fault of ["store_lie", "lost_behind_back", "load_corrupt", "adapter_added", "adapter_removed", "close_in_the_middle"] as const) if ((rates[fault] ?? 0) > 0) return;
  for (const adapter of world.adapters)
    for (const keyIndex of handle.keyIndices)
      if (!adapter.held.has(keyText(handle.keys, keyIndex))) world.fail(`a key was reported stored and is not in ${adapter.name}`);
}

// -------------------------------------------------------------------------------------------------------------- reading

export async function readOnce(world: World): Promise<void> {
  const { plan, random, faults } = world;
  const { document, first, count } = drawRange(world);
  const rows = world.rows(document, first, count, faults.strikes("duplicate_key"));
  const deadlineMs = random.nextFloat() < 0.7 ? undefined : random.nextBelow(500);
  const limitMs = deadlineMs ?? plan.loadDeadlineMs;
  const fetching = random.nextFloat() < 0.2 ? "full" : "prefix";
  const handle = await world.within(`read ${document}/${first}+${count}`, limitMs, ["ABORT_ERR"], () =>
    world.storage.prefetchRows(rows, {
      deadlineMs,
      signal: drawSignal(world, 2 * limitMs),
      fetching,
      skipL2: random.nextFloat() < 0.1,
      deliveries: 1 + random.nextBelow(2),
    }),
  );
  if (handle === undefined) return;
  world.note(`hit ${handle.hitCount} (${handle.l1Cells} + ${handle.l2Cells})`);
  checkHit(world, handle, fetching);
  if (faults.strikes("read_under_io")) return readUnderIo(world, handle);
  if (random.nextFloat() < 0.4) {
    await world.sleep(random.nextBelow(plan.readTtlSeconds === 1 ? 3_000 : 300));
    checkBytes(world, handle);
  }
  await finishRead(world, handle);
}

/** What a prefetch counted is there, whole, and was committed by somebody. */
function checkHit(world: World, handle: ReadHandle, fetching: "prefix" | "full"): void {
  if (!handle.live) world.fail("a read was answered with a lease that is over");
  const rowCount = handle.grid.rows.length;
  const has = (column: number, row: number): boolean => handle.hitCells[column * rowCount + row] === 1;
  if (fetching === "full") {
    const whole = Array.from({ length: handle.grid.columns }, (_, column) => handle.grid.rows.every((_row, row) => has(column, row)));
    if (whole.filter(Boolean).length !== handle.hitCount) world.fail(`a full read counts ${handle.hitCount} chunks and has ${whole.filter(Boolean).length} whole ones`);
  } else {
    for (let row = 0; row < rowCount; row++) {
      const window = handle.grid.rows[row].windowChunks;
      const firstNeeded = window > 0 ? Math.max(0, handle.hitCount - window) : 0;
      for (let column = firstNeeded; column < handle.hitCount; column++)
        if (!has(column, row)) world.fail(`a hit of ${handle.hitCount} chunks lacks chunk ${column} of row ${row}`);
    }
  }
  for (let cell = 0; cell < handle.hitCells.length; cell++)
    if (handle.hitCells[cell] === 1 && !world.committed.has(keyText(handle.grid.keys, cell))) world.fail("a key was hit that nobody has committed");
  checkBytes(world, handle);
}

function checkBytes(world: World, handle: ReadHandle): void {
  const cells: number[] = [];
  for (let cell = 0; cell < handle.hitCells.length; cell++) if (handle.hitCells[cell] === 1) cells.push(cell);
  if (cells.length !== handle.slots.length) world.fail(`${cells.length} cells were hit and ${handle.slots.length} slots given`);
  handle.slots.forEach((slot, position) => {
    let bytes: Uint8Array;
    try {
      bytes = slot.copyOut();
    } catch (error) {
      // A lease may run out; while it lives, its objects cannot go.
      if (handle.live) world.fail(`a leased object is gone: ${String(error)}`);
      return;
    }
    if (!isPayloadOf(bytes, recordOf(handle.grid.keys, cells[position]))) world.fail("wrong bytes were read");
  });
}

/** A copy that outlives its lease, as a scatter does whose session ended: its slots must not be given to anybody. */
async function readUnderIo(world: World, handle: ReadHandle): Promise<void> {
  if (handle.refs.length === 0) return handle.release();
  const refs = handle.refs.slice();
  world.beginClientIo(refs);
  await handle.release();
  await world.sleep(world.random.nextBelow(5_000));
  world.endClientIo(refs);
  world.note("copy ended");
}

async function finishRead(world: World, handle: ReadHandle): Promise<void> {
  const { random, faults } = world;
  if (faults.strikes("read_abandoned")) return;
  if (random.nextFloat() < 0.3) {
    handle.deliver("worker 0");
    handle.deliver("worker 0");
    if (random.nextFloat() < 0.5) handle.deliver("worker 1");
  }
  await handle.release();
  if (faults.strikes("double_release")) await handle.release();
  if (handle.live) world.fail("a released read is live");
}

import type { NativeArena, NativeInternTable } from "../native/binding.ts";
import type { ClassBytes } from "./class-bytes.ts";
import type { ReadLease } from "./lease.ts";
import { AdmissionClass, ObjectState, type ObjectTable } from "./object-table.ts";

/** What L1 believes about itself, to be compared with what its rows say. */
export interface L1Beliefs {
  readonly arena: NativeArena;
  readonly keys: NativeInternTable;
  readonly table: ObjectTable;
  readonly leases: ReadonlySet<ReadLease>;
  readonly bytes: ClassBytes;
  readonly residentCount: number;
  readonly stagedCount: number;
  readonly stagedBytes: number;
}

/** Counted afresh from the rows; `problems` is empty when every sum, count and state agrees. */
export interface L1Audit {
  readonly problems: readonly string[];
  readonly objects: number;
  /** Aligned bytes of all live objects. */
  readonly liveBytes: number;
  readonly leases: number;
  readonly openObligations: number;
  readonly stagedObjects: number;
  /** Interned keys, and those of them that have an object. More are interned than have objects only while a policy remembers ghosts. */
  readonly internedKeys: number;
  readonly keysWithObjects: number;
}

/**
 * Walks every row of L1 and compares the sums with the running counts: the invariants of l1/README.md, checked from outside. Costs
 * O(objects); the simulation calls it between events, `kvferry doctor` and tests when somebody asks.
 */
export function auditL1(l1: L1Beliefs): L1Audit {
  const { table } = l1;
  const problems: string[] = [];
  const leasesBySlot = countLeases(l1.leases, table, problems);
  const slots = new Set<number>();
  const charged = [0, 0, 0];
  let residentCount = 0;
  let stagedCount = 0;
  let stagedBytes = 0;
  let liveBytes = 0;
  let openObligations = 0;
  let keysWithObjects = 0;

  for (let keyId = 1; keyId <= l1.keys.idBound; keyId++) {
    const resident = table.residentSlot(keyId);
    const staged = table.stagedSlots(keyId);
    if (resident >= 0 || staged.length > 0) keysWithObjects++;
    for (const slot of resident >= 0 ? [resident, ...staged] : staged) {
      if (slots.has(slot)) problems.push(`slot ${slot} is owned twice`);
      slots.add(slot);
      if (table.keyId(slot) !== keyId) problems.push(`slot ${slot} is listed under key ${keyId} and belongs to key ${table.keyId(slot)}`);
      const bytes = l1.bytes.footprint(table.sizeBytes(slot));
      liveBytes += bytes;
      charged[table.charge(slot)] += bytes;
      if (table.leases(slot) !== (leasesBySlot.get(slot) ?? 0))
        problems.push(`slot ${slot} counts ${table.leases(slot)} leases and ${leasesBySlot.get(slot) ?? 0} name it`);
    }
    for (const slot of staged) {
      stagedCount++;
      stagedBytes += table.sizeBytes(slot);
      if (table.state(slot) !== ObjectState.staged) problems.push(`slot ${slot} is listed as staged and is not`);
    }
    if (resident < 0) continue;
    residentCount++;
    openObligations += table.openObligations(resident);
    if (table.state(resident) !== ObjectState.resident) problems.push(`slot ${resident} is listed as resident and is not`);
    const isHeld = table.leases(resident) > 0 || table.openObligations(resident) > 0;
    if (!isHeld && table.isMarkedForDrop(resident)) problems.push(`slot ${resident} is marked for drop, held by nobody, and still here`);
    if (!isHeld && table.isTemporary(resident)) problems.push(`slot ${resident} is temporary, held by nobody, and still here`);
    if (!isHeld && table.charge(resident) !== AdmissionClass.none) problems.push(`slot ${resident} is held by nobody and charged to class ${table.charge(resident)}`);
    if (isHeld && table.charge(resident) === AdmissionClass.none) problems.push(`slot ${resident} is held and charged to nobody`);
  }

  for (const slot of leasesBySlot.keys()) if (!slots.has(slot)) problems.push(`a live lease names slot ${slot}, which has no object`);
  const compare = (what: string, believed: number, counted: number): void => {
    if (believed !== counted) problems.push(`${what}: believed ${believed}, counted ${counted}`);
  };
  compare("resident objects", l1.residentCount, residentCount);
  compare("staged objects", l1.stagedCount, stagedCount);
  compare("staged bytes", l1.stagedBytes, stagedBytes);
  charged.forEach((bytes, charge) => compare(`bytes charged to class ${charge}`, l1.bytes.of(charge as AdmissionClass), bytes));
  const arena = l1.arena.stats(false);
  compare("bytes in use less draining", arena.usedBytes - arena.drainingBytes, liveBytes);
  if (arena.usedBytes > arena.capacityBytes) problems.push(`${arena.usedBytes} bytes are in use of ${arena.capacityBytes}`);
  if (l1.keys.size < keysWithObjects) problems.push(`${l1.keys.size} keys are interned and ${keysWithObjects} have objects`);
  return { problems, objects: slots.size, liveBytes, leases: l1.leases.size, openObligations, stagedObjects: stagedCount, internedKeys: l1.keys.size, keysWithObjects };
}

function countLeases(leases: ReadonlySet<ReadLease>, table: ObjectTable, problems: string[]): Map<number, number> {
  const bySlot = new Map<number, number>();
  for (const lease of leases) {
    for (let index = 0; index < lease.slots.length; index++) {
      const slot = lease.slots[index];
      bySlot.set(slot, (bySlot.get(slot) ?? 0) + 1);
      if (table.state(slot) !== ObjectState.resident || table.generation(slot) !== lease.refs[2 * index + 1])
        problems.push(`the lease of ${lease.owner} names slot ${slot}, which is not its object any more`);
    }
  }
  return bySlot;
}

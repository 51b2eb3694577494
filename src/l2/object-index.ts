/**
 * What an adapter knows about its objects, by dense id: state, size, salt. Two u32 per object beside the native intern table, so that
 * ten million objects fit in memory (fs promises at most 100 bytes each).
 *
 * | state | meaning | from | to |
 * |---|---|---|---|
 * | absent | no entry; the id is free, or held for the length of a call or by a policy that remembers the object | | storing, present (found by a scan) |
 * | storing | room is reserved, bytes are on their way; lookups say no | absent | present, absent |
 * | present | a complete object | storing, absent | removing |
 * | removing | evicted or deleted, its bytes not yet free; lookups say no | present | absent |
 */
import { assert } from "../base/assert.ts";
import { errorText } from "../base/errors.ts";
import { PagedUint32Array } from "../base/paged-array.ts";
import type { NamespaceTable } from "../keys/namespace.ts";
import type { NativeInternTable } from "../native/binding.ts";
import type { AdapterContext, AdapterEvictionPolicy, L2Usage } from "./contract.ts";
import { GuardedPolicy } from "./guarded-policy.ts";

export const EntryState = { absent: 0, storing: 1, present: 2, removing: 3 } as const;
export type EntryState = (typeof EntryState)[keyof typeof EntryState];

/** Footprints are kept in pages: what file systems and the arena hand out, and 16 TiB in a u32. */
export const footprintPageBytes = 4096;
const stateShift = 30;
const namespaceMask = (1 << stateShift) - 1;

type IndexContext = Pick<AdapterContext, "name" | "namespaces" | "logger" | "counters" | "createEvictionPolicy" | "quotaBytes">;

export class ObjectIndex {
  readonly table: NativeInternTable;
  readonly policy: AdapterEvictionPolicy;
  readonly #namespaces: NamespaceTable;
  /** state << 30 | namespace id. */
  readonly #states = new PagedUint32Array();
  readonly #pages = new PagedUint32Array();
  readonly #bytesBySalt = new Map<number, number>();
  #bytes: [number, number, number, number] = [0, 0, 0, 0];
  #counts: [number, number, number, number] = [0, 0, 0, 0];
  readonly #leavers = new Set<Set<number>>();

  constructor(table: NativeInternTable, context: IndexContext, policyName: string) {
    const { name, namespaces, logger, counters } = context;
    this.table = table;
    this.#namespaces = namespaces;
    const policy = context.createEvictionPolicy(policyName, {
      saltId: (id) => this.saltId(id),
      sizeBytes: (id) => this.footprintBytes(id),
      saltUsage: (saltId) => ({ usedBytes: this.bytesOfSalt(saltId), quotaBytes: context.quotaBytes?.(namespaces.saltName(saltId)) ?? Infinity }),
      retain: (id) => table.retain(Uint32Array.of(id)),
      release: (id) => this.release([id]),
    });
    this.policy = new GuardedPolicy(policy, (error) => {
      counters.counter("kvferry_l2_policy_errors_total", { adapter: name, policy: policy.name }).add(1);
      logger.error("l2-policy", `${name}: eviction policy ${policy.name} threw: ${errorText(error)}`);
    });
  }

  /** One id per record of `recordBytes`; 0 = absent. Takes no reference. */
  find(records: Uint8Array): Uint32Array {
    const ids = new Uint32Array(records.byteLength / this.table.recordBytes);
    this.table.find(records, ids);
    return ids;
  }

  /** One id per record; each holds one reference that `enter` or `release` takes over. */
  intern(records: Uint8Array): Uint32Array {
    const ids = new Uint32Array(records.byteLength / this.table.recordBytes);
    this.table.intern(records, ids);
    return ids;
  }

  release(ids: readonly number[]): void {
    if (ids.length > 0) this.table.release(Uint32Array.from(ids));
  }

  state(id: number): EntryState {
    return (this.#states.get(id) >>> stateShift) as EntryState;
  }

  footprintBytes(id: number): number {
    return this.#pages.get(id) * footprintPageBytes;
  }

  saltId(id: number): number {
    return this.#namespaces.saltId(this.#states.get(id) & namespaceMask);
  }

  namespaceId(id: number): number {
    return this.#states.get(id) & namespaceMask;
  }

  /** absent -> storing or present; the caller's reference becomes the entry's. */
  enter(id: number, state: typeof EntryState.storing | typeof EntryState.present, namespaceId: number, footprintBytes: number): void {
    assert(this.state(id) === EntryState.absent, `object ${id} entered twice`);
    this.#pages.set(id, Math.ceil(footprintBytes / footprintPageBytes));
    this.#states.set(id, (state << stateShift) | namespaceId);
    this.#account(id, state, 1);
  }

  /** storing -> present, present -> removing. */
  advance(id: number, from: EntryState, to: EntryState): void {
    assert(this.state(id) === from, `object ${id} is in state ${this.state(id)}, not ${from}`);
    this.#account(id, from, -1);
    this.#states.set(id, (to << stateShift) | this.namespaceId(id));
    this.#account(id, to, 1);
  }

  /**
   * Collects the ids that leave from now on, until unwatch: for whoever awaits something and must know afterwards whether an entry is
   * still the one it was. Ids and their generations do not tell, for a policy that remembers an object keeps its id alive.
   */
  watchLeavers(): ReadonlySet<number> {
    const left = new Set<number>();
    this.#leavers.add(left);
    return left;
  }

  unwatch(left: ReadonlySet<number>): void {
    this.#leavers.delete(left as Set<number>);
  }

  /** storing or removing -> absent, and the entry's reference goes back: the id may name another object from now on. */
  leave(id: number): void {
    const state = this.state(id);
    assert(state === EntryState.storing || state === EntryState.removing, `object ${id} leaves from state ${state}`);
    this.#account(id, state, -1);
    this.#states.set(id, 0);
    this.#pages.set(id, 0);
    for (const left of this.#leavers) left.add(id);
    this.table.release(Uint32Array.of(id));
  }

  /** Bytes in the given state, in whole pages. */
  bytesIn(state: EntryState): number {
    return this.#bytes[state];
  }

  countIn(state: EntryState): number {
    return this.#counts[state];
  }

  bytesOfSalt(saltId: number): number {
    return this.#bytesBySalt.get(saltId) ?? 0;
  }

  usage(capacityBytes: number): L2Usage {
    const bytesBySalt: Record<string, number> = {};
    for (const [saltId, bytes] of this.#bytesBySalt) bytesBySalt[this.#namespaces.saltName(saltId)] = bytes;
    return { usedBytes: this.usedBytes, objectCount: this.objectCount, capacityBytes, bytesBySalt };
  }

  /** Complete objects and those whose bytes are not free yet. */
  get usedBytes(): number {
    return this.#bytes[EntryState.present] + this.#bytes[EntryState.removing];
  }

  get objectCount(): number {
    return this.#counts[EntryState.present] + this.#counts[EntryState.removing];
  }

  /** Bytes of bookkeeping, the policy's own not included. */
  memoryBytes(): number {
    return this.table.memoryBytes() + this.#states.memoryBytes() + this.#pages.memoryBytes();
  }

  #account(id: number, state: EntryState, sign: 1 | -1): void {
    const bytes = sign * this.footprintBytes(id);
    this.#bytes[state] += bytes;
    this.#counts[state] += sign;
    if (state === EntryState.storing) return;
    const saltId = this.saltId(id);
    const saltBytes = (this.#bytesBySalt.get(saltId) ?? 0) + bytes;
    if (saltBytes === 0) this.#bytesBySalt.delete(saltId);
    else this.#bytesBySalt.set(saltId, saltBytes);
  }
}

/** Loads, and what they tell about the index: used, found before the scan did, damaged, or gone. */
import { join } from "node:path";

import { ItemStatus } from "../../native/binding.ts";
import { pickBatch, pickRecords } from "../batches.ts";
import { type AdapterContext, LoadStatus, type ObjectBatch } from "../contract.ts";
import { EntryState, type ObjectIndex } from "../object-index.ts";
import type { ObjectRoom } from "../object-room.ts";
import { isAborted } from "../operations.ts";
import type { DirectoryWatch } from "./directory-watch.ts";
import { type ObjectFiles, windows } from "./object-files.ts";
import { identityBytes, type ObjectNames, objectPath } from "./object-names.ts";
import type { Problems } from "./problems.ts";
import type { Scanner } from "./scanner.ts";
import { isDamage, loadStatusOf } from "./statuses.ts";

export interface LoaderParts {
  readonly basePath: string;
  readonly context: AdapterContext;
  readonly files: ObjectFiles;
  readonly names: ObjectNames;
  readonly index: ObjectIndex;
  readonly room: ObjectRoom;
  readonly scanner: Scanner;
  readonly watch: DirectoryWatch;
  readonly problems: Problems;
}

/** One native call's keys, with what the index knew of them when it started. */
interface Window {
  readonly part: ObjectBatch;
  readonly identities: Uint8Array;
  readonly ids: Uint32Array;
  readonly generations: Uint32Array;
}

export class Loader {
  readonly #parts: LoaderParts;

  constructor(parts: LoaderParts) {
    this.#parts = parts;
  }

  /** One LoadStatus per key. */
  async load(batch: ObjectBatch, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const { index, names, files } = this.#parts;
    const statuses = new Uint8Array(batch.keys.count).fill(LoadStatus.failed);
    if (isAborted(signal) || this.#isGone()) return statuses;
    const identities = names.identities(batch.keys);
    const ids = index.find(identities);
    const asked: number[] = [];
    ids.forEach((id, key) => {
      if (this.#mayBeThere(id)) asked.push(key);
      else statuses[key] = LoadStatus.missing;
    });
    for (const positions of windows(Uint32Array.from(asked, (key) => batch.sizes[key]))) {
      if (isAborted(signal)) break;
      const keys = positions.map((position) => asked[position]);
      const partIds = Uint32Array.from(keys, (key) => ids[key]);
      const window = { part: pickBatch(batch, keys), identities: pickRecords(identities, identityBytes, keys), ids: partIds, generations: this.#generationsOf(partIds) };
      const results = await files.load(window.part);
      keys.forEach((key, position) => (statuses[key] = loadStatusOf(results[position])));
      await this.#learn(results, window);
      // A directory that vanished knows nothing of what is missing.
      if (this.#isGone()) for (const key of keys) if (statuses[key] === LoadStatus.missing) statuses[key] = LoadStatus.failed;
    }
    return statuses;
  }

  /** Known; or, before the scan is over, unknown. What is being stored or removed is a miss. */
  #mayBeThere(id: number): boolean {
    const state = id === 0 ? EntryState.absent : this.#parts.index.state(id);
    return state === EntryState.present || (state === EntryState.absent && this.#parts.scanner.running);
  }

  /** As a call: what is true may change while a load is awaited. */
  #isGone(): boolean {
    return this.#parts.watch.gone;
  }

  /** 0 for unknown ids. */
  #generationsOf(ids: Uint32Array): Uint32Array {
    const generations = new Uint32Array(ids.length);
    const known = ids.filter((id) => id !== 0);
    const found = new Uint32Array(known.length);
    this.#parts.index.table.generations(known, found);
    let next = 0;
    ids.forEach((id, position) => (generations[position] = id === 0 ? 0 : found[next++]));
    return generations;
  }

  async #learn(results: Int32Array, window: Window): Promise<void> {
    const { index, files, watch, room, problems, scanner } = this.#parts;
    const current = index.find(window.identities);
    const generations = this.#generationsOf(current);
    const used: number[] = [];
    const damaged: number[] = [];
    const vanished: number[] = [];
    const found: number[] = [];
    results.forEach((result, position) => {
      const id = current[position];
      // The entry may have been removed and made again while the load ran: what it found then says nothing about what is there now.
      const same = id !== 0 && id === window.ids[position] && generations[position] === window.generations[position] && index.state(id) === EntryState.present;
      if (result === ItemStatus.ok) (same ? used : found).push(same ? id : position);
      else if (isDamage(result)) {
        files.damaged(result);
        if (same || id === 0 || this.#isStillDamaged(window, position)) damaged.push(position);
      } else if (result === ItemStatus.missing && same) vanished.push(id);
      else if (result < 0) files.failed("load", result);
    });
    if (used.length > 0) {
      index.policy.onKeysTouched(Uint32Array.from(used));
      scanner.noteUsed(used);
      problems.clear("load");
    }
    if (found.length > 0) this.#adopt(found, window);
    if (vanished.length > 0 || results.some((result) => result < 0)) await watch.check();
    if (vanished.length > 0 && !watch.gone) await room.remove(Uint32Array.from(vanished), "vanished");
    if (damaged.length > 0) await this.#removeDamaged(damaged, current, window.identities);
  }

  /** For the rare entry that a scan or a store made while the load ran: only the file itself can say whose damage that was. */
  #isStillDamaged(window: Window, position: number): boolean {
    const identity = window.identities.subarray(position * identityBytes, (position + 1) * identityBytes);
    return !this.#parts.context.native.binding.inspectObjectFile(join(this.#parts.basePath, objectPath(identity))).intact;
  }

  /** Enters objects that a load found before the scan did. */
  #adopt(positions: readonly number[], window: Window): void {
    const { index, scanner, files } = this.#parts;
    if (!scanner.running) return;
    const ids = index.intern(pickRecords(window.identities, identityBytes, positions));
    const returned: number[] = [];
    const created: number[] = [];
    ids.forEach((id, row) => {
      if (index.state(id) !== EntryState.absent) {
        returned.push(id);
        return;
      }
      const { keys, sizes } = window.part;
      index.enter(id, EntryState.present, keys.namespaceId(positions[row]), files.native.fileBytesFor(sizes[positions[row]]));
      created.push(id);
    });
    index.release(returned);
    if (created.length > 0) index.policy.onKeysCreated(Uint32Array.from(created));
    scanner.noteUsed(created);
  }

  /** Damaged files go, so that the next store repairs them. */
  async #removeDamaged(positions: readonly number[], ids: Uint32Array, identities: Uint8Array): Promise<void> {
    const { room, files, scanner } = this.#parts;
    const known = positions.filter((position) => ids[position] !== 0);
    await room.remove(Uint32Array.from(known, (position) => ids[position]), "damaged");
    const unknown = positions.filter((position) => ids[position] === 0);
    if (unknown.length === 0) return;
    const unknownIdentities = pickRecords(identities, identityBytes, unknown);
    scanner.noteRemoved(unknownIdentities, await files.remove(unknownIdentities));
  }
}

/** Loads, and what they tell about the index: used, found before the scan did, damaged, or gone. */
import { lstatSync } from "node:fs";
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
  /** 0 where there was no complete object. */
  readonly ids: Uint32Array;
  /** Ids whose entries left since. */
  readonly left: ReadonlySet<number>;
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
      const window = this.#openWindow(pickBatch(batch, keys), pickRecords(identities, identityBytes, keys));
      try {
        const results = await files.load(window.part);
        keys.forEach((key, position) => (statuses[key] = loadStatusOf(results[position])));
        await this.#learn(results, window);
      } finally {
        index.unwatch(window.left);
      }
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

  #openWindow(part: ObjectBatch, identities: Uint8Array): Window {
    const { index } = this.#parts;
    const ids = index.find(identities).map((id) => (id !== 0 && index.state(id) === EntryState.present ? id : 0));
    return { part, identities, ids, left: index.watchLeavers() };
  }

  /** As a call: what is true may change while a load is awaited. */
  #isGone(): boolean {
    return this.#parts.watch.gone;
  }

  async #learn(results: Int32Array, window: Window): Promise<void> {
    const { index, files, watch, problems, scanner } = this.#parts;
    const current = index.find(window.identities);
    const used: number[] = [];
    const damaged: number[] = [];
    const vanished: number[] = [];
    const found: number[] = [];
    results.forEach((result, position) => {
      const id = current[position];
      if (result === ItemStatus.ok) {
        if (this.#isSame(window, position, id)) used.push(id);
        else found.push(position);
      } else if (isDamage(result)) {
        files.damaged(result);
        damaged.push(position);
      } else if (result === ItemStatus.missing) vanished.push(position);
      else if (result < 0) files.failed("load", result);
    });
    if (used.length > 0) {
      index.policy.onKeysTouched(Uint32Array.from(used));
      scanner.noteUsed(used);
      problems.clear("load");
    }
    if (found.length > 0) this.#adopt(found, window);
    if (vanished.some((position) => current[position] !== 0) || results.some((result) => result < 0)) await watch.check();
    if (!watch.gone) await this.#forget(vanished, window, "vanished");
    await this.#forget(damaged, window, "damaged");
  }

  /** True when the entry is the one that the load started from: then what the load found is what lies under it. */
  #isSame(window: Window, position: number, id: number): boolean {
    return id !== 0 && id === window.ids[position] && !window.left.has(id) && this.#parts.index.state(id) === EntryState.present;
  }

  /**
   * Takes objects that are gone or damaged out of the index, and what is left of their files out of the directory, so that the next store
   * mends them. Decided and begun in one step, on entries looked up now: entries come and go while a load or a look at the directory is
   * awaited. Until its file is gone a damaged object has an entry in state removing, whether the index knew it or not; else a scan that
   * read the directory before, or a store that finds the name taken, would make a complete object of it.
   */
  async #forget(positions: readonly number[], window: Window, reason: "vanished" | "damaged"): Promise<void> {
    if (positions.length === 0) return;
    const { index, files, room, scanner } = this.#parts;
    const { keys, sizes } = window.part;
    const identities = pickRecords(window.identities, identityBytes, positions);
    const ids = index.intern(identities);
    const lost: number[] = [];
    const returned: number[] = [];
    positions.forEach((position, row) => {
      const id = ids[row];
      const state = index.state(id);
      const known = state === EntryState.present && (this.#isSame(window, position, id) || this.#look(window, position) !== "intact");
      const unknown = state === EntryState.absent && reason === "damaged" && this.#look(window, position) === "damaged";
      if (unknown) index.enter(id, EntryState.present, keys.namespaceId(position), files.native.fileBytesFor(sizes[position]));
      else returned.push(id);
      if (!known && !unknown) return;
      lost.push(id);
      scanner.noteLost(identities, row);
    });
    const forgotten = room.forget(Uint32Array.from(lost), reason);
    index.release(returned);
    await forgotten;
  }

  /** For the rare entry that a scan or a store made while the load ran: only the file itself can say what lies there now. */
  #look(window: Window, position: number): "gone" | "damaged" | "intact" {
    const identity = window.identities.subarray(position * identityBytes, (position + 1) * identityBytes);
    const path = join(this.#parts.basePath, objectPath(identity));
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return "gone";
    const { intact, payloadBytes } = this.#parts.context.native.binding.inspectObjectFile(path);
    return intact && payloadBytes === window.part.sizes[position] ? "intact" : "damaged";
  }

  /** Enters objects that a load found before the scan did. */
  #adopt(positions: readonly number[], window: Window): void {
    const { index, scanner, files } = this.#parts;
    if (!scanner.running) return;
    const ids = index.intern(pickRecords(window.identities, identityBytes, positions));
    const returned: number[] = [];
    const created: number[] = [];
    ids.forEach((id, row) => {
      // What was removed while the load read it is no object any more.
      if (index.state(id) !== EntryState.absent || scanner.wasRemoved(window.identities, positions[row])) {
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
}

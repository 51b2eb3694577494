import { stat } from "node:fs/promises";

import { errorText } from "../../base/errors.ts";
import { markerName, prepareDirectory, readMarker, writeNamespace } from "./directory.ts";
import type { FsParts } from "./parts.ts";
import type { Problems } from "./problems.ts";
import { OwnerLock } from "./owner-lock.ts";

const retryMs = 1_000;

/**
 * Whether the directory is still the one that was opened. A disk that was unmounted or a directory that was deleted looks like a store
 * without objects: believing that would forget everything. So "no such file" counts only while the directory's marker is there.
 */
export class DirectoryWatch {
  readonly #parts: FsParts;
  readonly #problems: Problems;
  readonly #described = new Set<number>();
  #uuid: string;
  #lock: OwnerLock;
  #gone = false;
  #triedAtMs = 0;

  constructor(parts: FsParts, problems: Problems) {
    this.#parts = parts;
    this.#problems = problems;
    this.#uuid = parts.marker.uuid;
    this.#lock = parts.lock;
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** Looks at the marker after something failed. */
  async check(): Promise<void> {
    if (this.#gone) return;
    const problem = await this.#lookAtMarker();
    if (problem === undefined) return;
    this.#gone = true;
    this.#triedAtMs = this.#parts.context.clock.nowMs();
    this.#problems.set("directory", problem);
  }

  /** True when a directory is there again and `reopen` has taken it. Looks at most once a second. A new, empty one is prepared first. */
  async tryAgain(reopen: () => void): Promise<boolean> {
    const { basePath, context } = this.#parts;
    const nowMs = context.clock.nowMs();
    if (nowMs - this.#triedAtMs < retryMs) return false;
    this.#triedAtMs = nowMs;
    try {
      if (!(await stat(basePath)).isDirectory()) return false;
      if (!(await this.#lock.held())) {
        this.#lock.abandon();
        this.#lock = await OwnerLock.take(basePath, context.name, context.clock, context.native.binding);
      }
      this.#uuid = (await prepareDirectory(basePath, context.name, context.clock)).uuid;
      reopen();
    } catch (error) {
      this.#problems.set("directory", `${basePath} cannot be used again yet: ${errorText(error)}`);
      return false;
    }
    this.#described.clear();
    this.#gone = false;
    this.#problems.clear("directory");
    return true;
  }

  /** Writes the description of a namespace, once per directory. Rejects with the file system's error. */
  async describeNamespace(id: number): Promise<void> {
    if (this.#described.has(id)) return;
    const { namespaces } = this.#parts.context;
    await writeNamespace(this.#parts.basePath, namespaces.digest(id), namespaces.get(id));
    this.#described.add(id);
  }

  async release(): Promise<void> {
    await this.#lock.release();
  }

  async #lookAtMarker(): Promise<string | undefined> {
    const { basePath, context } = this.#parts;
    try {
      const marker = await readMarker(basePath, context.name);
      if (marker === undefined) return `${basePath} has vanished (no ${markerName}); nothing is stored or loaded until it is back`;
      return marker.uuid === this.#uuid ? undefined : `${basePath} is another directory than the one that was opened`;
    } catch (error) {
      return `${basePath} cannot be read: ${errorText(error)}`;
    }
  }
}

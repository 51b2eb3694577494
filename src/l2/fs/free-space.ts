import type { StatsFs } from "node:fs";

import type { Clock } from "../../base/clock.ts";

/** A sample is renewed after this many bytes or objects of our own, or after this time, because others write to the disk too. */
const renewBytes = 256 * 1024 * 1024;
const renewObjects = 4096;
const renewMs = 5_000;

export interface FreeSpaceRules {
  readonly minFreeBytes: number;
  readonly minFreePercent: number;
  readonly minFreeInodesPercent: number;
}

/** How much may still be written before the file system has less free than the rules say. Sampled, and corrected by what we do in between. */
export class FreeSpace {
  readonly #rules: FreeSpaceRules;
  readonly #sampleDisk: () => Promise<StatsFs>;
  readonly #clock: Clock;
  #freeBytes = 0;
  #totalBytes = 0;
  #freeInodes = 0;
  #totalInodes = 0;
  #bytesSince = 0;
  #objectsSince = 0;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  #sampling: Promise<void> | undefined;

  constructor(rules: FreeSpaceRules, clock: Clock, sampleDisk: () => Promise<StatsFs>) {
    this.#rules = rules;
    this.#clock = clock;
    this.#sampleDisk = sampleDisk;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Bytes that always stay free. */
  get keptBytes(): number {
    return Math.max(this.#rules.minFreeBytes, (this.#totalBytes * this.#rules.minFreePercent) / 100);
  }

  /** Bytes and objects that may still be added; negative when the disk is already below its limit. */
  headroom(): { readonly bytes: number; readonly objects: number } {
    // File systems without a fixed number of inodes (btrfs, overlay on some) report 0 in all.
    const keptInodes = (this.#totalInodes * this.#rules.minFreeInodesPercent) / 100;
    return {
      bytes: this.#freeBytes - this.#bytesSince - this.keptBytes,
      objects: this.#totalInodes === 0 ? Infinity : Math.floor(this.#freeInodes - this.#objectsSince - keptInodes),
    };
  }

  /** Tells what was written (positive) or removed (negative) since the sample. */
  changed(bytes: number, objects: number): void {
    this.#bytesSince += bytes;
    this.#objectsSince += objects;
  }

  /** Samples again when it is time. */
  async refresh(): Promise<void> {
    const stale = Math.abs(this.#bytesSince) >= renewBytes || Math.abs(this.#objectsSince) >= renewObjects || this.#clock.nowMs() - this.#sampledAtMs >= renewMs;
    if (stale) await this.sample();
  }

  /** Samples now; a call during a sample joins it. Rejects when the directory cannot be asked. */
  sample(): Promise<void> {
    this.#sampling ??= this.#sample().finally(() => (this.#sampling = undefined));
    return this.#sampling;
  }

  async #sample(): Promise<void> {
    // What is written while the question is under way may be in the answer or not: counting it still is the careful way.
    const bytesBefore = this.#bytesSince;
    const objectsBefore = this.#objectsSince;
    const disk = await this.#sampleDisk();
    this.#freeBytes = disk.bavail * disk.bsize;
    this.#totalBytes = disk.blocks * disk.bsize;
    this.#freeInodes = disk.ffree;
    this.#totalInodes = disk.files;
    this.#bytesSince -= bytesBefore;
    this.#objectsSince -= objectsBefore;
    this.#sampledAtMs = this.#clock.nowMs();
  }
}

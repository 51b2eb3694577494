/**
 * Doubly linked lists over dense ids, oldest to youngest, in segments of 64 Ki ids: 8 bytes per id, and growing never copies what is
 * there (no doubling peak). An id lies in at most one of the lists that share an IdLinks.
 */
const segmentIds = 1 << 16;
const segmentMask = segmentIds - 1;

/** Links hold `id + firstId`, so that a fresh segment (all zero) means "in no list". */
const inNoList = 0;
const listEnd = 1;
const firstId = 2;

/** Ids above this cannot be linked: `id + firstId` must fit 32 bits. */
export const largestLinkableId = 0xffffffff - firstId;

/** The links of all lists of one policy: per id the next older and the next younger, side by side in one cache line. */
export class IdLinks {
  readonly segments: (Uint32Array | undefined)[] = [];

  /** The segment of `id`, made when it is the first of its 64 Ki. */
  segmentFor(id: number): Uint32Array {
    return this.segments[id >>> 16] ?? this.#addSegment(id);
  }

  /** Whether `id` lies in one of the lists over these links. */
  has(id: number): boolean {
    const segment = this.segments[id >>> 16];
    return segment !== undefined && segment[((id & segmentMask) << 1) | 1] !== inNoList;
  }

  get bytes(): number {
    let bytes = 0;
    for (const segment of this.segments) bytes += segment?.byteLength ?? 0;
    return bytes;
  }

  #addSegment(id: number): Uint32Array {
    if (!Number.isInteger(id) || id < 0 || id > largestLinkableId) throw new RangeError(`an id must be an integer in [0, ${largestLinkableId}], got ${id}`);
    // Holes up to this segment are filled with `undefined`: a sparse array would be a dictionary, and slow.
    while (this.segments.length <= id >>> 16) this.segments.push(undefined);
    return (this.segments[id >>> 16] = new Uint32Array(2 * segmentIds));
  }
}

const single = new Uint32Array(1);

/** One list. Every method is O(1). */
export class IdList {
  readonly #links: IdLinks;
  #oldest = listEnd;
  #youngest = listEnd;
  #count = 0;

  constructor(links: IdLinks) {
    this.#links = links;
  }

  get count(): number {
    return this.#count;
  }

  /** Puts `id` at the young end: moved when it is in this list, added when it is in none. REQUIRES: it is in no other list. */
  moveToYoung(id: number): void {
    single[0] = id;
    this.moveBatchToYoung(single, false);
  }

  /**
   * moveToYoung for each id from the last to the first, so that the first ends youngest; with `knownOnly`, ids in no list are left alone.
   * One loop over locals, because this is the hot path of every store and lookup.
   */
  moveBatchToYoung(ids: Uint32Array, knownOnly: boolean): void {
    const links = this.#links;
    const segments = links.segments;
    let last = this.#youngest;
    for (let index = ids.length - 1; index >= 0; index--) {
      const id = ids[index];
      let segment = segments[id >>> 16];
      if (segment === undefined) {
        if (knownOnly) continue;
        segment = links.segmentFor(id);
      }
      const at = (id & segmentMask) << 1;
      const younger = segment[at | 1];
      if (younger === listEnd) continue;
      if (younger !== inNoList) {
        const older = segment[at];
        const youngerId = younger - firstId;
        (segments[youngerId >>> 16] as Uint32Array)[(youngerId & segmentMask) << 1] = older;
        if (older === listEnd) this.#oldest = younger;
        else {
          const olderId = older - firstId;
          (segments[olderId >>> 16] as Uint32Array)[((olderId & segmentMask) << 1) | 1] = younger;
        }
      } else if (knownOnly) continue;
      else this.#count++;
      segment[at] = last;
      segment[at | 1] = listEnd;
      if (last === listEnd) this.#oldest = id + firstId;
      else {
        const lastId = last - firstId;
        (segments[lastId >>> 16] as Uint32Array)[((lastId & segmentMask) << 1) | 1] = id + firstId;
      }
      last = id + firstId;
    }
    this.#youngest = last;
  }

  /** Takes `id` out. REQUIRES: it is in this list. */
  remove(id: number): void {
    const segment = this.#links.segmentFor(id);
    const at = (id & segmentMask) << 1;
    this.#join(segment[at], segment[at | 1]);
    segment[at] = inNoList;
    segment[at | 1] = inNoList;
    this.#count--;
  }

  /** The oldest id, or -1 when the list is empty. */
  oldest(): number {
    return this.#oldest - firstId < 0 ? -1 : this.#oldest - firstId;
  }

  /** The next younger id after `id`, or -1 at the young end. REQUIRES: `id` is in this list. */
  youngerThan(id: number): number {
    const younger = this.#links.segmentFor(id)[((id & segmentMask) << 1) | 1];
    return younger === listEnd ? -1 : younger - firstId;
  }

  /** All ids, oldest first: for tests and status, never for a hot path. */
  toArray(): number[] {
    const ids: number[] = [];
    for (let id = this.oldest(); id !== -1; id = this.youngerThan(id)) ids.push(id);
    return ids;
  }

  /** Links the neighbours of an element that leaves its place. */
  #join(older: number, younger: number): void {
    const segments = this.#links.segments;
    if (older === listEnd) this.#oldest = younger;
    else {
      const olderId = older - firstId;
      (segments[olderId >>> 16] as Uint32Array)[((olderId & segmentMask) << 1) | 1] = younger;
    }
    if (younger === listEnd) this.#youngest = older;
    else {
      const youngerId = younger - firstId;
      (segments[youngerId >>> 16] as Uint32Array)[(youngerId & segmentMask) << 1] = older;
    }
  }
}

/** One small unsigned integer per id, zero at first, in the same segments. */
export class IdNumbers<A extends Uint8Array | Uint32Array> {
  readonly #make: (length: number) => A;
  readonly #segments: (A | undefined)[] = [];

  constructor(make: (length: number) => A) {
    this.#make = make;
  }

  get(id: number): number {
    return this.#segments[id >>> 16]?.[id & segmentMask] ?? 0;
  }

  set(id: number, value: number): void {
    while (this.#segments.length <= id >>> 16) this.#segments.push(undefined);
    const segment = (this.#segments[id >>> 16] ??= this.#make(segmentIds));
    segment[id & segmentMask] = value;
  }
}

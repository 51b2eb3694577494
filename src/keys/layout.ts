import { createHash } from "node:crypto";

/**
 * What the bytes of an object mean (design: image fingerprint). Two engines whose objects have the same image may share them; anything
 * that is not proved equal is another image, so another key.
 */
export interface ImageDescription {
  readonly tokens: number;
  readonly planes: number;
  readonly layers: number;
  /** Heads x head size as packed, for example "8x128". */
  readonly heads: string;
  readonly dtype: string;
  /** -1 = whole prefix, else the sliding window in tokens. */
  readonly window: number;
}

/** Size and meaning of the objects of one request row. */
export interface ObjectLayout {
  /** Bytes of one object, 1 .. 4 GiB - 1. */
  readonly sizeBytes: number;
  /** Left out for opaque bytes: then the size alone is the image. */
  readonly image?: ImageDescription;
}

const fingerprints = new WeakMap<ObjectLayout, string>();

/** 32 hex digits; equal for equal layouts, in every process and version that shares the format number in it. */
export function imageFingerprint(layout: ObjectLayout): string {
  let fingerprint = fingerprints.get(layout);
  if (fingerprint === undefined) {
    checkObjectLayout(layout);
    const { image } = layout;
    const text = JSON.stringify([
      "kvferry-image/1",
      layout.sizeBytes,
      image === undefined ? null : [image.tokens, image.planes, image.layers, image.heads, image.dtype, image.window],
    ]);
    fingerprint = createHash("sha256").update(text).digest("hex").slice(0, 32);
    fingerprints.set(layout, fingerprint);
  }
  return fingerprint;
}

/** Throws a RangeError when the size is not an integer in [1, 2^32). */
export function checkObjectLayout(layout: ObjectLayout): void {
  if (!Number.isInteger(layout.sizeBytes) || layout.sizeBytes < 1 || layout.sizeBytes > 0xffffffff)
    throw new RangeError(`layout.sizeBytes must be an integer in [1, 2^32), got ${layout.sizeBytes}`);
}

import assert from "node:assert/strict";
import { test } from "node:test";

import { KiB } from "../../../src/base/bytes.ts";
import { engineKvFormats, engineLayout, openDevice, type EngineKvFormat, type EngineKvShape } from "../../../src/device/index.ts";
import { NativeRuntime } from "../../../src/native/runtime.ts";

const shape: EngineKvShape = { layers: 3, blocks: 6, blockTokens: 4, heads: 2, headSize: 8, elementBytes: 2, chunkTokens: 8 };
const e = 2;
const D = 2 * 8 * e;
const B = 4 * D;
const NB = 6;
const NL = 3;

/** Strides by hand, [block, plane, layer, token, head] in bytes, and tensors: the table that LMCache's own address formulas were checked against. */
const byHand: Record<EngineKvFormat, { strides: readonly [number, number, number, number, number]; tensors: number; planes: number; heads?: number; headBytes?: number }> = {
  NB_NL_TWO_BS_NH_HS: { strides: [2 * NL * B, B, 2 * B, D, 8 * e], tensors: 1, planes: 2 },
  NL_X_TWO_NB_BS_NH_HS: { strides: [B, NB * B, 0, D, 8 * e], tensors: NL, planes: 2 },
  NL_X_NB_TWO_BS_NH_HS: { strides: [2 * B, B, 0, D, 8 * e], tensors: NL, planes: 2 },
  NL_X_NB_BS_HS: { strides: [4 * 8 * e, 0, 0, 8 * e, 8 * e], tensors: NL, planes: 1, heads: 1 },
  TWO_X_NL_X_NBBS_NH_HS: { strides: [B, 0, 0, D, 8 * e], tensors: 2 * NL, planes: 2 },
  NL_X_NBBS_ONE_HS: { strides: [4 * 8 * e, 0, 0, 8 * e, 8 * e], tensors: NL, planes: 1, heads: 1 },
  NL_X_TWO_NB_NH_BS_HS: { strides: [B, NB * B, 0, 8 * e, 4 * 8 * e], tensors: NL, planes: 2 },
  NL_X_NB_TWO_NH_BS_HS: { strides: [2 * B, B, 0, 8 * e, 4 * 8 * e], tensors: NL, planes: 2 },
  NB_NL_TWO_NH_BS_HS: { strides: [2 * NL * B, B, 2 * B, 8 * e, 4 * 8 * e], tensors: 1, planes: 2 },
  TWO_X_NL_X_NB_BS_NH_HS: { strides: [B, 0, 0, D, 8 * e], tensors: 2 * NL, planes: 2 },
  NL_X_NB_NH_BS_TWO_HS: { strides: [2 * B, 0, 0, 16 * e, 4 * 16 * e], tensors: NL, planes: 1, headBytes: 16 * e },
  NL_X_NB_NH_BS_CS: { strides: [B, 0, 0, 8 * e, 4 * 8 * e], tensors: NL, planes: 1 },
  NL_X_NB_BS_NH_TWO_HS: { strides: [2 * B, 0, 0, 2 * 16 * e, 16 * e], tensors: NL, planes: 1, headBytes: 16 * e },
  NL_X_NB_BS_NH_CS: { strides: [B, 0, 0, D, 8 * e], tensors: NL, planes: 1 },
};

function shapeFor(format: EngineKvFormat): EngineKvShape {
  return byHand[format].heads === 1 ? { ...shape, heads: undefined } : shape;
}

function sharedBytes(length: number, valueAt: (at: number) => number): Uint8Array {
  const memory = new Uint8Array(new SharedArrayBuffer(length));
  for (let at = 0; at < length; at++) memory[at] = valueAt(at);
  return memory;
}

function regionsFor(format: EngineKvFormat, bytes = 64 * KiB): { memory: Uint8Array }[] {
  return Array.from({ length: byHand[format].tensors }, (_, region) => ({ memory: sharedBytes(bytes, (at) => at * 7 + region * 31 + (at >> 8)) }));
}

for (const format of engineKvFormats) {
  test(`${format} has the strides of LMCache's address formula`, () => {
    const spec = engineLayout(format, shapeFor(format), regionsFor(format));
    const { strides, planes, heads = 2, headBytes = 8 * e } = byHand[format];
    assert.deepEqual([spec.blockStride, spec.planeStride, spec.layerStride, spec.tokenStride, spec.headStride], strides);
    assert.deepEqual([spec.planes, spec.heads, spec.headBytes, spec.layers, spec.blockCount], [planes, heads, headBytes, NL, NB]);
  });
}

test("an object gathered from one format is scattered into every other of the same image, byte for byte", async () => {
  const runtime = new NativeRuntime();
  const arena = runtime.openArena({ sizeBytes: 1024 * KiB });
  const device = openDevice({ kind: "cpu", runtime });
  try {
    const sameImage = engineKvFormats.filter((format) => byHand[format].planes === 2);
    assert.equal(sameImage.length, 8);
    const first = device.registerLayout(engineLayout(sameImage[0], shape, regionsFor(sameImage[0])));
    const refs = new Uint32Array(4);
    assert.equal(arena.allocate(first.imageBytes, 2, refs), 2);
    await device.gather(first, arena, refs.subarray(0, 2), Int32Array.of(5, 1));
    const image = new Uint8Array(first.imageBytes);
    arena.read(refs[0], refs[1], 0, image);
    for (const format of sameImage.slice(1)) {
      const layout = device.registerLayout(engineLayout(format, shape, regionsFor(format)));
      await device.scatter(layout, arena, refs.subarray(0, 2), Int32Array.of(2, 4));
      await device.gather(layout, arena, refs.subarray(2, 4), Int32Array.of(2, 4));
      const back = new Uint8Array(first.imageBytes);
      arena.read(refs[2], refs[3], 0, back);
      assert.deepEqual(back, image, format);
    }
  } finally {
    await device.close();
    await runtime.close();
    arena.close();
  }
});

test("padded blocks keep their own stride, and planes outside of them follow it", () => {
  const padded = engineLayout("NL_X_TWO_NB_BS_NH_HS", { ...shape, blockStride: B + 100 }, regionsFor("NL_X_TWO_NB_BS_NH_HS"));
  assert.equal(padded.blockStride, B + 100);
  assert.equal(padded.planeStride, NB * (B + 100));
  assert.throws(() => engineLayout("NL_X_NB_TWO_BS_NH_HS", { ...shape, blockStride: 2 * B - 1 }, regionsFor("NL_X_NB_TWO_BS_NH_HS")), /blockStride is 255, but a block of NL_X_NB_TWO_BS_NH_HS has 256 bytes/);
});

test("what a format cannot mean is refused in words", () => {
  const layout = (format: string, changes: Partial<EngineKvShape> = {}, tensors = 3): unknown =>
    engineLayout(format as EngineKvFormat, { ...shape, ...changes }, Array.from({ length: tensors }, () => ({ memory: new Uint8Array(64) })));
  assert.throws(() => layout("NL_X_NB_TWO_BS_NH_SH"), /format must be one of .*; got "NL_X_NB_TWO_BS_NH_SH"; did you mean "NL_X_NB_TWO_BS_NH_HS"\?/);
  assert.throws(() => layout("NL_X_NB_BSV_BSS"), /register them as two layouts/);
  assert.throws(() => layout("NL_X_NB_BS_HS"), /heads is 2, but format NL_X_NB_BS_HS has no heads/);
  assert.throws(() => layout("TWO_X_NL_X_NB_BS_NH_HS"), /regions has 3 entries, but format TWO_X_NL_X_NB_BS_NH_HS with 3 layers is 6 tensors/);
});

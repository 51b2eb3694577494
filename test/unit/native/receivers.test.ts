import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { MiB, native, openArena } from "./support.ts";

type Constructor = { readonly name: string; readonly prototype: object };

/** Members that every class has at least; the test finds all of them by itself. */
const leastMembers: Readonly<Record<string, number>> = { Arena: 14, InternTable: 10, Engine: 8, ObjectFiles: 11, CpuDevice: 8 };

test("no member of any class works on anything but an object of that class", (context) => {
  const basePath = mkdtempSync(join(tmpdir(), "kvferry-receivers-"));
  context.after(() => rmSync(basePath, { recursive: true }));
  const engine = new native.Engine({ stepped: true });
  const objects: Readonly<Record<string, object>> = {
    Arena: openArena({ sizeBytes: MiB }),
    InternTable: new native.InternTable(32, 16),
    Engine: engine,
    ObjectFiles: new native.ObjectFiles(engine, { basePath, directIo: "off", fsync: false }),
    CpuDevice: new native.CpuDevice(engine),
  };
  const classes = Object.values(native as unknown as Record<string, unknown>).filter((value): value is Constructor => typeof value === "function" && "prototype" in value && value.prototype !== undefined);
  const exported = classes.filter(({ prototype }) => Object.getOwnPropertyNames(prototype).length > 1);
  assert.deepEqual(exported.map(({ name }) => name).sort(), Object.keys(leastMembers).sort());
  for (const owner of exported) {
    const own = objects[owner.name];
    const receivers: unknown[] = Object.values(objects).filter((object) => object !== own);
    receivers.push(undefined, null, 5, "text", Symbol("s"), {}, [], () => 1, new Uint8Array(8), owner, owner.prototype, Object.create(own) as object, Object.create(owner.prototype) as object, new Proxy(own, {}));
    let members = 0;
    for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(owner.prototype))) {
      if (name === "constructor") continue;
      members += 1;
      for (const call of [descriptor.get, descriptor.set, descriptor.value] as unknown[]) {
        if (typeof call !== "function") continue;
        for (const receiver of receivers) {
          assert.throws(() => Reflect.apply(call, receiver, [1, 1, 1]), TypeError, `${owner.name}.${name} on ${Object.prototype.toString.call(receiver)}`);
        }
      }
    }
    assert.ok(members >= leastMembers[owner.name], `${owner.name} has ${members} members`);
  }
});

test("getters answer on their own objects, and on those of subclasses", () => {
  class Named extends native.Arena {
    readonly name = "mine";
  }
  const arena = new Named({ sizeBytes: MiB });
  assert.deepEqual([arena.capacityBytes, arena.alignBytes, arena.name], [MiB, 4096, "mine"]);
  const table = new native.InternTable(32, 16);
  assert.deepEqual([table.recordBytes, table.size], [48, 0]);
  assert.equal(typeof table.idBound, "number");
});

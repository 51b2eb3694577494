import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { setup } from "./setup.ts";

interface Elf {
  readonly machine: string;
  readonly needed: readonly string[];
  readonly versions: readonly string[];
  readonly exported: readonly string[];
  readonly stripped: boolean;
}
interface ElfModule {
  readElf(path: string): Elf;
  prebuildFaults(path: string, wanted: { arch: string; libc: string; glibcMax?: string }): string[];
}
const { readElf, prebuildFaults } = (await import(pathToFileURL(join(process.cwd(), "scripts/lib/elf.mjs")).href)) as ElfModule;

for (const [arch, libc] of [["x64", "glibc"], ["x64", "musl"], ["arm64", "glibc"]]) {
  test(`the ${arch} ${libc} binary needs no more and shows no more than it may`, () => {
    assert.deepEqual(prebuildFaults(join("prebuilds", `linux-${arch}`, `kvferry.${libc}.node`), { arch, libc }), []);
  });
}

test("the glibc floor is a check that can fail: the same binary is refused by a lower floor", () => {
  const faults = prebuildFaults("prebuilds/linux-x64/kvferry.glibc.node", { arch: "x64", libc: "glibc", glibcMax: "2.2" });
  assert.ok(faults.some((fault) => /needs glibc 2\.\d+, newer than 2\.2/.test(fault)), faults.join("\n"));
});

test("a binary of another kind is refused for each rule that it breaks", () => {
  // Node itself: links libstdc++, exports thousands of symbols, is no addon.
  const node = setup.nodes["22.23.3"];
  const faults = prebuildFaults(node, { arch: "arm64", libc: "glibc" }).join("\n");
  for (const expected of [/is for x64, not arm64/, /needs libstdc\+\+/, /needs the symbol version GLIBCXX/, /exports .*napi_create_function/]) assert.match(faults, expected);
  assert.ok(readElf(node).needed.includes("libc.so.6"));
});

/** npm pack refuses to make a package that could not run where it was packed. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { packageRoot } from "../../../src/native/load.ts";

const platform = `${process.platform}-${process.arch}`;

function checkout(t: TestContext, binary?: string): string {
  const directory = mkdtempSync(join(tmpdir(), "kvferry-prepack-"));
  t.after(() => rmSync(directory, { recursive: true }));
  if (binary !== undefined) {
    mkdirSync(join(directory, "prebuilds", binary), { recursive: true });
    writeFileSync(join(directory, "prebuilds", binary, "kvferry.glibc.node"), "");
  }
  return directory;
}

function prepack(directory: string, environment: Readonly<Record<string, string>> = {}): { readonly code: number | null; readonly output: string } {
  const { KVFERRY_PACK_WITHOUT_BINARY: _, ...inherited } = process.env;
  const { status, stderr } = spawnSync(process.execPath, [join(packageRoot(), "scripts/prepack.mjs"), "--root", directory], { encoding: "utf8", env: { ...inherited, ...environment } });
  return { code: status, output: stderr };
}

test("npm pack runs the check before anything else", () => {
  const { scripts } = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as { scripts: Record<string, string> };
  assert.match(scripts.prepack, /^node scripts\/prepack\.mjs && /);
});

test("a clone without a binary for this host is refused, with the commands that help", (t) => {
  for (const binary of [undefined, "plan9-mips"]) {
    const { code, output } = prepack(checkout(t, binary));
    assert.equal(code, 1, output);
    assert.match(output, new RegExp(`^REFUSED: prebuilds/${platform} holds no binary`));
    assert.match(output, /npm run prebuild/);
    assert.match(output, /KVFERRY_PACK_WITHOUT_BINARY=1/);
  }
});

test("whoever asks for a package without a binary gets it, and a loud warning", (t) => {
  const { code, output } = prepack(checkout(t), { KVFERRY_PACK_WITHOUT_BINARY: "1" });
  assert.equal(code, 0, output);
  assert.match(output, /^WARNING: /);
});

test("a checkout with a binary for this host is packed", (t) => {
  const { code, output } = prepack(checkout(t, platform));
  assert.equal(code, 0, output);
  assert.doesNotMatch(output, /WARNING|REFUSED/);
});

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { PluginError } from "../../../src/base/errors.ts";
import { isClass, loadExport, looksLikeModulePath, splitModuleName } from "../../../src/plugins/load-export.ts";

let directory = "";

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvferry-plugins-"));
  const files: Record<string, string> = {
    "default.mjs": "export default class Main {}; export function other() {}",
    "single.mjs": "export const limit = 3; export function make() { return 'made'; }",
    "several.mjs": "export class First {}; export class Second {}; export const nothing = null;",
    "empty.mjs": "",
    "throws.mjs": "throw new Error('at import');",
    "syntax.mjs": "export class {",
    "old.cjs": "exports.Legacy = class Legacy {};",
    "with#mark.mjs": "export default function marked() {}",
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
});

after(() => rm(directory, { recursive: true }));

const load = (text: string, exportName?: string): ReturnType<typeof loadExport> => loadExport(text, { wanted: "a store policy", baseDirectory: directory, exportName });

async function refusal(text: string, exportName?: string): Promise<string> {
  try {
    await load(text, exportName);
  } catch (error) {
    assert.ok(error instanceof PluginError, String(error));
    assert.equal(error.code, "KVFERRY_PLUGIN");
    return error.message;
  }
  return assert.fail(`${text} was loaded`);
}

test("paths and names are told apart", () => {
  for (const path of ["./a.mjs", "../a.mjs", "/a.mjs", "file:///a.mjs", "./a.mjs#B"]) assert.equal(looksLikeModulePath(path), true, path);
  for (const name of ["default", "skip_l1", "LRU", "second-hit", ".hidden", "a/b"]) assert.equal(looksLikeModulePath(name), false, name);
  assert.deepEqual(splitModuleName("./a#b.mjs#Main"), { path: "./a#b.mjs", exportName: "Main" });
  assert.deepEqual(splitModuleName("./a#b.mjs"), { path: "./a#b.mjs", exportName: undefined });
});

test("relative, absolute and file URL name the same module", async () => {
  const url = pathToFileURL(join(directory, "default.mjs")).href;
  const loaded = await Promise.all(["./default.mjs", join(directory, "default.mjs"), url].map((text) => load(text)));
  for (const { value, origin } of loaded) {
    assert.equal(value, loaded[0].value);
    assert.equal(origin, `${join(directory, "default.mjs")}#default`);
  }
});

test("the default export wins, then the only function; a name is taken by name; CommonJS works", async () => {
  assert.equal((await load("./default.mjs")).value.name, "Main");
  assert.equal((await load("./default.mjs#other")).value.name, "other");
  assert.equal((await load("./single.mjs")).value.name, "make");
  assert.equal((await load("./several.mjs", "Second")).value.name, "Second");
  assert.equal((await load("./old.cjs")).value.name, "Legacy");
  assert.equal((await load("./with#mark.mjs")).value.name, "marked");
});

test("what is missing is named: file, export, what was found, and what was probably meant", async () => {
  assert.equal(await refusal("./nowhere.mjs"), `${directory}/nowhere.mjs should export a store policy, but there is no such file (given: "./nowhere.mjs")`);
  assert.match(await refusal("."), /is not a file; name the module's file itself/);
  assert.match(await refusal("./several.mjs#Secnd"), /has no export "Secnd"; it exports First \(class\), Second \(class\), nothing \(null\); did you mean "Second"\?/);
  assert.match(await refusal("./several.mjs#nothing"), /several\.mjs#nothing should be a store policy \(a class or a function that makes one\), but it is null/);
  assert.match(await refusal("./several.mjs"), /as default or as its only function; it exports First \(class\), .* say which one as path#name/);
  assert.match(await refusal("./empty.mjs"), /it exports nothing/);
  assert.match(await refusal("file://elsewhere/x.mjs"), /is not the URL of a file on this machine/);
});

test("a module that does not load is an error with its cause", async () => {
  assert.match(await refusal("./throws.mjs"), /throws\.mjs should export a store policy, but it does not load: at import/);
  assert.match(await refusal("./syntax.mjs"), /does not load: /);
});

test("classes are told from functions", () => {
  assert.deepEqual([class {}, function plain() {}, () => 0, {}, null].map(isClass), [true, false, false, false, false]);
});

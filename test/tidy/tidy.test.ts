import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

import ts from "typescript";

import { filesUnder, root, type SourceFile } from "./source-files.ts";

const typescript = ["src", "test", "bench", "examples"].flatMap((directory) => filesUnder(directory, [".ts"]));
const scripts = filesUnder("scripts", [".mjs", ".cjs"]);
const native = ["native", "test/native"].flatMap((directory) => filesUnder(directory, [".cc", ".h", ".cu"]));
const sources = [...typescript, ...scripts, ...native];

/** Files that are longer than the rule, each with its reason. */
const longFiles: Readonly<Record<string, string>> = {
  "src/native/binding.ts": "the whole native boundary in one place, most of it comments",
  "src/l1/l1-manager.ts": "every change of an object's state goes through this class, and its private rows stay private",
};

/** Functions that are longer than the rule, each with its reason. */
const longFunctions: Readonly<Record<string, string>> = {
  "src/cli/replay/payload.ts replayOver": "one run from start to result, in the order in which it happens",
};

test("the sources were found", () => {
  assert.ok(typescript.length > 20 && scripts.length > 5 && native.length > 5, `${typescript.length}, ${scripts.length}, ${native.length} files`);
});

test("every C++ source is in native/sources.gypi, and every entry exists", () => {
  const listed = new Set(Object.values(JSON.parse(readFileSync(join(root, "native/sources.gypi"), "utf8")).variables as Record<string, string[]>).flat());
  const onDisk = filesUnder("native", [".cc"]).map(({ path }) => path);
  const normal = new Set([...listed].map((path) => (path.startsWith("native/") ? path : `native/${path}`)));
  assert.deepEqual(onDisk.filter((path) => !normal.has(path)), [], "not listed");
  assert.deepEqual([...normal].filter((path) => path.endsWith(".cc") && !existsSync(join(root, path))), [], "listed but absent");
});

test("no reminders are left in the code", () => {
  const reminder = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"].join("|")})\\b`);
  assert.deepEqual(linesMatching(sources, reminder), []);
});

test("no file is longer than 500 lines, no test longer than 800, without a reason", () => {
  const tooLong = sources
    .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ path, lines }) => lines > (path.startsWith("test/") ? 800 : 500) && !(path in longFiles))
    .map(({ path, lines }) => `${path}: ${lines} lines`);
  assert.deepEqual(tooLong, []);
});

test("no function of src is longer than 70 lines without a reason", () => {
  const found: string[] = [];
  for (const file of typescript.filter(({ path }) => path.startsWith("src/"))) {
    const tree = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.Latest, true);
    const line = (position: number): number => tree.getLineAndCharacterOfPosition(position).line + 1;
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) {
        const name = `${file.path} ${node.name?.getText(tree) ?? `line ${line(node.getStart())}`}`;
        const lines = line(node.end) - line(node.getStart()) + 1;
        if (lines > 70 && !(name in longFunctions)) found.push(`${name}: ${lines} lines`);
      }
      ts.forEachChild(node, visit);
    };
    visit(tree);
  }
  assert.deepEqual(found, []);
});

test("controllers, policies and L1 take time and chance from outside", () => {
  const pure = typescript.filter(({ path }) => /^src\/(controllers|policies|l1)\//.test(path));
  assert.ok(pure.length > 5);
  const ambient = /\b(Date\.now|new Date\(\)|performance\.now|process\.hrtime|Math\.random|randomBytes|randomUUID|setTimeout|setInterval|setImmediate)\b/;
  assert.deepEqual(linesMatching(pure.map(withoutComments), ambient), []);
});

test("no test is skipped or run alone by hand", () => {
  const tests = typescript.filter(({ path }) => path.endsWith(".test.ts"));
  assert.deepEqual(linesMatching(tests.map(withoutComments), /\b(test|it|describe|suite)\.(skip|todo|only)\b|\b(skip|todo|only): true\b/), []);
});

test("no `any`, no empty catch, no silenced compiler", () => {
  const found: string[] = [];
  for (const file of typescript) {
    const tree = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node): void => {
      if (node.kind === ts.SyntaxKind.AnyKeyword) found.push(at(tree, node, "any"));
      if (ts.isCatchClause(node) && node.block.statements.length === 0) found.push(at(tree, node, "empty catch"));
      ts.forEachChild(node, visit);
    };
    visit(tree);
  }
  assert.deepEqual(found, []);
  assert.deepEqual(linesMatching(typescript, new RegExp("@ts-" + "(ignore|nocheck|expect-error)")), []);
});

test("every relative link in the documents leads somewhere", () => {
  const documents = [...filesUnder("docs", [".md"]), ...filesUnder("bench", [".md"]), ...filesUnder("examples", [".md"])];
  for (const name of ["README.md", "CHANGELOG.md", "prebuilds/README.md"])
    if (existsSync(join(root, name))) documents.push({ path: name, text: readFileSync(join(root, name), "utf8") });
  const dead: string[] = [];
  for (const { path, text } of documents) {
    for (const [, target] of text.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      if (!existsSync(join(root, dirname(path), target))) dead.push(`${path}: ${target}`);
    }
  }
  assert.deepEqual(dead, []);
});

function linesMatching(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.flatMap(({ path, text }) =>
    text.split("\n").flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

/** Comments blanked out, line numbers kept: a comment may speak of what the code must not do. */
function withoutComments({ path, text }: SourceFile): SourceFile {
  const blank = (comment: string): string => comment.replace(/[^\n]/g, " ");
  return { path, text: text.replace(/\/\*[\s\S]*?\*\//g, blank).replace(/(^|[\s;{}(),])\/\/.*$/gm, blank) };
}

function at(tree: ts.SourceFile, node: ts.Node, what: string): string {
  return `${tree.fileName}:${tree.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${what}`;
}

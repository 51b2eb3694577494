// Reporter for node:test: one line per test file, the whole story of each failure, and the counts as JSON in the file that
// KVFERRY_TEST_COUNTS names. A test is counted once, suites are not counted; a file that fails to load is a failed test.
import { writeFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import { inspect } from "node:util";

const indent = (text) => text.replace(/^/gm, "    ");

export default async function* reporter(source) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const files = new Map();
  const output = new Map();
  const fileOf = (data) => data.file ?? data.name;
  const bump = (data, kind) => {
    counts[kind] += 1;
    const file = files.get(fileOf(data)) ?? { passed: 0, failed: 0, skipped: 0, milliseconds: 0 };
    files.set(fileOf(data), file);
    file[kind] += 1;
    if (data.nesting === 0) file.milliseconds += data.details?.duration_ms ?? 0;
  };
  for await (const { type, data } of source) {
    // A passing wrapper of a whole file or of a suite is no test of its own; a failing one is, when nothing inside it failed.
    const isWrapper = data?.details?.type === "suite" || (data?.nesting === 0 && data?.file !== undefined && typeof data.name === "string" && resolve(data.name) === data.file);
    if (type === "test:pass") {
      if (isWrapper) continue;
      const skipped = data.skip !== undefined || data.todo !== undefined;
      bump(data, skipped ? "skipped" : "passed");
    } else if (type === "test:fail") {
      const error = data.details?.error;
      if (error?.failureType === "subtestsFailed") continue;
      bump(data, "failed");
      const cause = error?.cause ?? error;
      const text = cause instanceof Error ? (cause.stack ?? cause.message) + details(cause) : inspect(cause);
      const exit = error?.exitCode > 0 ? `exit code ${error.exitCode}` : error?.signal ? `ended by ${error.signal}` : "";
      yield `FAIL ${relative(process.cwd(), fileOf(data))}: ${data.name} ${exit}\n${indent(text)}\n`;
    } else if (type === "test:stderr" || type === "test:stdout") {
      const lines = output.get(data.file) ?? [];
      output.set(data.file, lines);
      if (lines.length < 200) lines.push(data.message);
    }
  }
  for (const [name, file] of files) {
    const path = relative(process.cwd(), name);
    const skipped = file.skipped > 0 ? `, ${file.skipped} skipped` : "";
    const failed = file.failed > 0 ? `, ${file.failed} FAILED` : "";
    yield `  ${path}: ${file.passed} passed${failed}${skipped}\n`;
    const said = output.get(name);
    if (file.failed > 0 && said !== undefined) yield `${indent(said.join(""))}\n`;
  }
  if (process.env.KVFERRY_TEST_COUNTS) writeFileSync(process.env.KVFERRY_TEST_COUNTS, JSON.stringify(counts));
}

/** What an AssertionError knows beyond its message. */
function details(error) {
  if (error.code !== "ERR_ASSERTION" || error.message.includes("\n")) return "";
  return `\nactual: ${inspect(error.actual, { depth: 4 })}\nexpected: ${inspect(error.expected, { depth: 4 })}`;
}

// GoogleTest of native/core through CMake and ctest, plain or under a sanitizer, with the counts that ctest reports.
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { root, run, works } from "./run.mjs";

/** @param {{ sanitize?: "address" | "thread" | "", filter?: string }} options */
export async function nativeTests({ sanitize = "", filter } = {}) {
  const gtest = ["/usr/src/googletest", "/usr/include/gtest"].some((path) => existsSync(path));
  if (!(await works("cmake", ["--version"])) || !gtest) {
    const skipped = writtenTests();
    console.log(`skipped: ${skipped} native tests need CMake and GoogleTest (apt install cmake libgtest-dev)`);
    return { passed: 0, failed: 0, skipped };
  }
  const directory = join(root, ".build", `native-${sanitize === "" ? "plain" : sanitize}`);
  mkdirSync(directory, { recursive: true });
  // -O1 halves the time to compile under sanitizers, and without NDEBUG assert() is on.
  await run("cmake", ["-S", root, "-B", directory, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1", "-DKVFERRY_TESTS=ON", "-DKVFERRY_ADDON=OFF", `-DKVFERRY_SANITIZE=${sanitize}`]);
  await run("cmake", ["--build", directory, "--parallel", "2"]);
  const junit = join(directory, "ctest.xml");
  const args = ["--test-dir", directory, "--output-on-failure", "--no-tests=error", "-j", "2", "--timeout", "300", "--output-junit", junit];
  if (filter !== undefined) args.push("-R", filter);
  const { code, stdout, stderr } = await run("ctest", args, { check: false });
  const head = /<testsuite[^>]*>/.exec(existsSync(junit) ? readFileSync(junit, "utf8") : "")?.[0] ?? "";
  const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? Number.NaN);
  const counts = { passed: count("tests") - count("failures") - count("skipped") - count("disabled"), failed: count("failures"), skipped: count("skipped") + count("disabled") };
  if (Object.values(counts).some(Number.isNaN)) throw new Error(`ctest left no counts (exit code ${code})\n${stdout}${stderr}`);
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  if (counts.failed > 0) console.log(stdout + stderr);
  return counts;
}

/** How many tests are written, for an honest count of those that could not run. */
function writtenTests() {
  const directory = join(root, "test", "native");
  if (!existsSync(directory)) return 0;
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith("_test.cc"))
    .reduce((sum, name) => sum + (readFileSync(join(directory, name), "utf8").match(/^TEST(_F|_P)?\(/gm)?.length ?? 0), 0);
}

import assert from "node:assert/strict";
import { test } from "node:test";

import { GiB } from "../../../src/base/bytes.ts";
import { largestL1Bytes, memoryLimitBytes } from "../../../src/storage/memory-limit.ts";

const machineBytes = 64 * GiB;

function limit(files: Readonly<Record<string, string>>): number {
  return memoryLimitBytes((path) => files[path], machineBytes) / GiB;
}

test("without a cgroup, or with one that says max, the machine is the limit", () => {
  assert.equal(limit({}), 64);
  assert.equal(limit({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n" }), 64);
  assert.equal(limit({ "/proc/self/cgroup": "4:memory:/\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n" }), 64);
});

test("the smallest limit between the process's own cgroup and the root holds (v2)", () => {
  const files = { "/proc/self/cgroup": "0::/user.slice/job.scope\n", "/sys/fs/cgroup/user.slice/job.scope/memory.max": `${8 * GiB}\n`, "/sys/fs/cgroup/user.slice/memory.max": `${16 * GiB}\n` };
  assert.equal(limit(files), 8);
  assert.equal(limit({ ...files, "/sys/fs/cgroup/user.slice/memory.max": `${4 * GiB}\n` }), 4);
  assert.equal(limit({ ...files, "/sys/fs/cgroup/memory.max": `${2 * GiB}\n` }), 2);
});

test("version 1 names its memory controller", () => {
  const membership = "5:cpu,cpuacct:/small\n4:hugetlb,memory:/docker/abc\n1:name=systemd:/other\n";
  const at = (folder: string) => `/sys/fs/cgroup/memory${folder}/memory.limit_in_bytes`;
  assert.equal(limit({ "/proc/self/cgroup": membership, [at("/docker/abc")]: `${3 * GiB}\n`, [at("/small")]: `${GiB}\n` }), 3);
  assert.equal(limit({ "/proc/self/cgroup": membership, [at("/docker/abc")]: `${3 * GiB}\n`, [at("/docker")]: `${2 * GiB}\n` }), 2);
});

test("a path that leads out of the cgroup's namespace is not followed, the root is", () => {
  assert.equal(limit({ "/proc/self/cgroup": "0::/../../etc\n", "/sys/fs/cgroup/memory.max": `${5 * GiB}\n`, "/etc/memory.max": `${GiB}\n` }), 5);
});

test("the rest of the process keeps the larger of 2 GiB and 10 %", () => {
  assert.equal(largestL1Bytes(8 * GiB), 6 * GiB);
  assert.equal(largestL1Bytes(40 * GiB), 36 * GiB);
  assert.equal(largestL1Bytes(GiB), 0.5 * GiB);
});

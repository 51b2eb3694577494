/** One directory has one owner at a time; a dead owner costs nobody a wait. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, utimes, writeFile } from "node:fs/promises";
import { constants, hostname } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { systemClock } from "../../../src/base/clock.ts";
import { AdapterError } from "../../../src/base/errors.ts";
import { type KernelLocks, type Owner, OwnerLock } from "../../../src/l2/fs/owner-lock.ts";
import { FsPlace } from "./support.ts";

async function refusal(place: FsPlace): Promise<AdapterError> {
  try {
    await (await place.harness.open()).close();
  } catch (error) {
    assert.ok(error instanceof AdapterError, String(error));
    return error;
  }
  return assert.fail("the directory was given to a second owner");
}

/** A file system without locks. */
const noKernelLocks: KernelLocks = { lockFile: () => -constants.errno.EOPNOTSUPP, unlockFile: () => false };

/** This process's own lock text with changes: what another process would have written. */
async function writeOwner(place: FsPlace, changes: Partial<Owner>): Promise<void> {
  const lock = await takeByFile(place);
  const own = JSON.parse(await readFile(join(place.path, "owner.lock"), "utf8")) as Owner;
  await lock.release();
  await writeFile(join(place.path, "owner.lock"), JSON.stringify({ ...own, ...changes }));
}

function takeByFile(place: FsPlace): Promise<OwnerLock> {
  return OwnerLock.take(place.path, "adapter", systemClock, noKernelLocks);
}

async function ownedRefusal(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    assert.ok(error instanceof AdapterError && error.code === "KVFERRY_ADAPTER_OWNED", String(error));
    return error.message;
  }
  return assert.fail("the directory was given to a second owner");
}

test("a second adapter on one directory is refused and told who has it", async () => {
  const place = await FsPlace.create();
  const adapter = await place.open();
  const error = await refusal(place);
  assert.equal(error.code, "KVFERRY_ADAPTER_OWNED");
  assert.match(error.message, new RegExp(`has an owner: this process has it open already \\(pid ${process.pid}\\)`));
  await adapter.close();
  await (await place.open()).close();
  await place.end();
});

test("a live process is refused by pid and host, and once it is killed its directory is taken at once", async () => {
  const place = await FsPlace.create();
  const writer = spawn(process.execPath, [join(import.meta.dirname, "../../kill/fs-kill-writer.js"), place.path, "0", "auto"], { stdio: ["ignore", "pipe", "inherit"] });
  await once(writer.stdout, "data");
  const error = await refusal(place);
  assert.equal(error.code, "KVFERRY_ADAPTER_OWNED");
  assert.match(error.message, new RegExp(`process ${writer.pid} on ${hostname()} has it open since`));
  writer.kill("SIGKILL");
  await once(writer, "exit");
  await (await place.open()).close();
  await place.end();
});

test("the lock is the kernel's: what the file says does not matter", async () => {
  const place = await FsPlace.create();
  await writeFile(join(place.path, "owner.lock"), JSON.stringify({ pid: 1, host: hostname(), bootId: "", pidNamespace: "", startTicks: "1", since: "" }));
  const adapter = await place.open();
  await writeFile(join(place.path, "owner.lock"), "{}");
  assert.equal((await refusal(place)).code, "KVFERRY_ADAPTER_OWNED");
  await adapter.close();
  await place.end();
});

test("without kernel locks: this process and a live one are refused", async () => {
  const place = await FsPlace.create();
  const lock = await takeByFile(place);
  assert.match(await ownedRefusal(takeByFile(place)), /this process has it open already/);
  await lock.release();
  const other = spawn("sleep", ["60"]);
  await once(other, "spawn");
  const stat = await readFile(`/proc/${other.pid}/stat`, "utf8");
  const startTicks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  await writeOwner(place, { pid: other.pid, startTicks });
  assert.match(await ownedRefusal(takeByFile(place)), new RegExp(`process ${other.pid} on`));
  other.kill("SIGKILL");
  await once(other, "exit");
  await (await takeByFile(place)).release();
  await place.end();
});

test("without kernel locks: a dead owner's directory is taken at once", async () => {
  const place = await FsPlace.create();
  const dead: Partial<Owner>[] = [{ pid: 2 ** 22 - 1, startTicks: "7" }, { startTicks: "1" }, { bootId: "an earlier boot" }];
  for (const changes of dead) {
    await writeOwner(place, changes);
    await (await takeByFile(place)).release();
  }
  await place.end();
});

test("without kernel locks: an owner in another container is believed alive while it renews its lock", async () => {
  const place = await FsPlace.create();
  await writeOwner(place, { pidNamespace: "pid:[1]", pid: 1 });
  await ownedRefusal(takeByFile(place));
  const longAgo = Date.now() / 1000 - 60;
  await utimes(join(place.path, "owner.lock"), longAgo, longAgo);
  await (await takeByFile(place)).release();
  await place.end();
});

test("without kernel locks: of many who find a dead owner exactly one gets the directory", async () => {
  const place = await FsPlace.create();
  for (let round = 0; round < 20; round++) {
    await writeOwner(place, { pid: 2 ** 22 - 1, startTicks: "7" });
    const takers = await Promise.allSettled(Array.from({ length: 6 }, () => takeByFile(place)));
    const winners = takers.filter((taker) => taker.status === "fulfilled");
    assert.equal(winners.length, 1, `${winners.length} owners`);
    await winners[0].value.release();
  }
  await place.end();
});

test("a directory of another version or format is refused", async () => {
  const place = await FsPlace.create();
  await (await place.open()).close();
  const marker = join(place.path, "kvferry.json");
  for (const [text, message] of [
    [JSON.stringify({ format: "kvferry-fs", version: 2, uuid: "x" }), /has version 2, this kvferry reads version 1/],
    [JSON.stringify({ format: "other", version: 1 }), /says format "other", expected "kvferry-fs"/],
    ["half a", /is not JSON/],
  ] as const) {
    await writeFile(marker, text);
    const error = await refusal(place);
    assert.equal(error.code, "KVFERRY_ADAPTER_VERSION");
    assert.match(error.message, message);
  }
  await place.end();
});

test("a base_path that is a file is refused by name", async () => {
  const place = await FsPlace.create();
  await writeFile(join(place.path, "file"), "");
  const inside = FsPlace.on(join(place.path, "file"));
  const error = await refusal(inside);
  assert.match(error.message, /base_path .*file cannot be used: .*EEXIST|ENOTDIR/);
  await inside.harness.finish();
  await place.end();
});

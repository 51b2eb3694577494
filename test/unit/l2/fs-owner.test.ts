/** One directory has one owner at a time; a dead owner costs nobody a wait. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { AdapterError } from "../../../src/base/errors.ts";
import type { Owner } from "../../../src/l2/fs/owner-lock.ts";
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

/** This process's own lock text with changes: what another process would have written. */
async function ownerText(place: FsPlace, changes: Partial<Owner>): Promise<string> {
  const adapter = await place.open();
  const own = JSON.parse(await readFile(join(place.path, "owner.lock"), "utf8")) as Owner;
  await adapter.close();
  return JSON.stringify({ ...own, ...changes });
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

test("a live process on this host is refused by pid and host", async () => {
  const place = await FsPlace.create();
  const other = spawn("sleep", ["60"]);
  await once(other, "spawn");
  const stat = await readFile(`/proc/${other.pid}/stat`, "utf8");
  const startTicks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  await writeFile(join(place.path, "owner.lock"), await ownerText(place, { pid: other.pid, startTicks }));
  const error = await refusal(place);
  assert.equal(error.code, "KVFERRY_ADAPTER_OWNED");
  assert.match(error.message, new RegExp(`process ${other.pid} on ${hostname()} has it open since`));
  other.kill("SIGKILL");
  await once(other, "exit");
  await place.end();
});

test("a dead owner's directory is taken at once", async () => {
  const place = await FsPlace.create();
  const path = join(place.path, "owner.lock");
  const dead: Partial<Owner>[] = [{ pid: 2 ** 22 - 1, startTicks: "7" }, { startTicks: "1" }, { bootId: "an earlier boot" }];
  for (const changes of dead) {
    await writeFile(path, await ownerText(place, changes));
    await (await place.open()).close();
  }
  await place.end();
});

test("an owner in another container is believed alive while it renews its lock", async () => {
  const place = await FsPlace.create();
  const path = join(place.path, "owner.lock");
  await writeFile(path, await ownerText(place, { pidNamespace: "pid:[1]", pid: 1 }));
  assert.equal((await refusal(place)).code, "KVFERRY_ADAPTER_OWNED");
  const longAgo = Date.now() / 1000 - 60;
  await utimes(path, longAgo, longAgo);
  await (await place.open()).close();
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

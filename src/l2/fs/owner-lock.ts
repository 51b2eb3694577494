/**
 * One directory, one owner: `owner.lock` names the process that writes there. A lock whose process is gone (another boot, no such pid, or
 * a pid that was given to a younger process) is taken over at once, so that a SIGKILLed owner costs nobody a wait.
 *
 * Pids of another PID namespace (a container) or host mean nothing here. Such an owner renews the file's time every few seconds, and is
 * believed dead when it has not for `silentOwnerMs`.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { type FileHandle, link, open, readFile, rename, stat, unlink, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

import type { Clock, Timer } from "../../base/clock.ts";
import { AdapterError } from "../../base/errors.ts";

export const ownerLockName = "owner.lock";
const renewMs = 5_000;
export const silentOwnerMs = 20_000;
const takeOverRounds = 8;

export interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly bootId: string;
  readonly pidNamespace: string;
  /** Clock ticks after boot at which the process started: tells two processes with one pid apart. */
  readonly startTicks: string;
  readonly since: string;
}

export class OwnerLock {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #text: string;
  #timer: Timer | undefined;
  #abandoned = false;

  private constructor(path: string, clock: Clock, text: string) {
    this.#path = path;
    this.#clock = clock;
    this.#text = text;
    this.#renewLater();
  }

  /** Takes the lock of `directory`, or throws AdapterError KVFERRY_ADAPTER_OWNED that names the owner. */
  static async take(directory: string, adapter: string, clock: Clock): Promise<OwnerLock> {
    const path = join(directory, ownerLockName);
    const text = `${JSON.stringify(thisProcess(clock))}\n`;
    for (let round = 0; round < takeOverRounds; round++) {
      if (await createExclusively(path, text)) return new OwnerLock(path, clock, text);
      const held = await readOwner(directory);
      if (held === undefined) continue;
      if (await isAlive(held.owner, path, clock)) throw ownedError(adapter, directory, held.owner);
      await removeIfUnchanged(path, held.text);
    }
    throw new AdapterError(adapter, `${path} changes hands too fast: several processes want this directory`, { code: "KVFERRY_ADAPTER_OWNED", retryable: true });
  }

  /** Whether the file is still ours: false when the directory was replaced. */
  async held(): Promise<boolean> {
    return (await readText(this.#path)) === this.#text;
  }

  /** Stops renewing a lock whose directory is gone. */
  abandon(): void {
    this.#abandoned = true;
    this.#timer?.cancel();
  }

  async release(): Promise<void> {
    this.abandon();
    await removeIfUnchanged(this.#path, this.#text);
  }

  #renewLater(): void {
    if (this.#abandoned) return;
    this.#timer = this.#clock.setTimer(renewMs, () => {
      const now = new Date(this.#clock.wallMs());
      // A failure shows in the adapter's own work on the same directory; renewing goes on for when it is back.
      utimes(this.#path, now, now).then(
        () => this.#renewLater(),
        () => this.#renewLater(),
      );
    });
  }
}

/** Who holds `directory`, dead or alive; undefined when nobody does. */
export async function readOwner(directory: string): Promise<{ readonly owner: Owner | undefined; readonly text: string } | undefined> {
  const text = await readText(join(directory, ownerLockName));
  if (text === undefined) return undefined;
  try {
    const parsed = JSON.parse(text) as Owner;
    return { owner: Number.isInteger(parsed?.pid) ? parsed : undefined, text };
  } catch {
    // Cut short by a crash while it was written: nobody can be named, and the file's time decides.
    return { owner: undefined, text };
  }
}

export async function isOwnerAlive(directory: string, owner: Owner | undefined, clock: Clock): Promise<boolean> {
  return isAlive(owner, join(directory, ownerLockName), clock);
}

async function isAlive(owner: Owner | undefined, path: string, clock: Clock): Promise<boolean> {
  const self = thisProcess(clock);
  if (owner !== undefined && owner.host === self.host && owner.bootId !== self.bootId) return false;
  if (owner !== undefined && owner.bootId === self.bootId && owner.pidNamespace === self.pidNamespace) return startTicksOf(owner.pid) === owner.startTicks;
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && clock.wallMs() - found.mtimeMs < silentOwnerMs;
}

function ownedError(adapter: string, directory: string, owner: Owner | undefined): AdapterError {
  const who =
    owner === undefined
      ? "another process is just taking it"
      : owner.pid === process.pid && owner.host === hostname()
        ? `this process has it open already (pid ${owner.pid})`
        : `process ${owner.pid} on ${owner.host} has it open since ${owner.since}`;
  return new AdapterError(adapter, `${directory} has an owner: ${who}; one directory serves one process. Stop that process or choose another base_path`, {
    code: "KVFERRY_ADAPTER_OWNED",
    retryable: true,
  });
}

function thisProcess(clock: Clock): Owner {
  return {
    pid: process.pid,
    host: hostname(),
    bootId: readProc("/proc/sys/kernel/random/boot_id"),
    pidNamespace: linkText("/proc/self/ns/pid"),
    startTicks: startTicksOf(process.pid) ?? "",
    since: new Date(clock.wallMs()).toISOString(),
  };
}

/** Field 22 of /proc/pid/stat; undefined when there is no such process. The name before it may hold spaces and brackets. */
function startTicksOf(pid: number): string | undefined {
  const text = readProc(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  // A zombie holds no files and never writes again: field 3 is its state.
  return text === "" || fields[0] === "Z" ? undefined : fields[19];
}

function readProc(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

function linkText(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

async function createExclusively(path: string, text: string): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(path, "wx", 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
  try {
    await file.writeFile(text);
  } finally {
    await file.close();
  }
  return true;
}

/** Renames the file away before it is judged, so that two who found the same dead owner cannot both remove a new owner's file. */
async function removeIfUnchanged(path: string, text: string): Promise<void> {
  if ((await readText(path)) !== text) return;
  const aside = `${path}.${process.pid}.${process.hrtime.bigint()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (["ENOENT", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "")) return;
    throw error;
  }
  // Between the look and the rename the dead owner's file may have become a live one's: then it goes back.
  if ((await readText(aside)) !== text) await link(aside, path).catch(() => undefined);
  await unlink(aside);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

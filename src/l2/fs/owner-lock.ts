/**
 * One directory, one owner: `owner.lock` is locked through the kernel and names the process that writes there. The kernel lets go when that
 * process ends in any way, so that a SIGKILLed owner costs nobody a wait, also across containers on one host.
 *
 * Where the file system has no locks (some network mounts) the file itself is the lock: made exclusively, and taken over at once from a
 * process that is gone (another boot, no such pid, or a pid that was given to a younger process). Pids of another PID namespace or host mean
 * nothing here; such an owner renews the file's time every few seconds, and is believed dead when it has not for `silentOwnerMs`.
 */
import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { type FileHandle, link, open, readFile, rename, stat, truncate, unlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { getSystemErrorName } from "node:util";

import { type Clock, sleep, type Timer } from "../../base/clock.ts";
import { AdapterError } from "../../base/errors.ts";

export const ownerLockName = "owner.lock";
const renewMs = 5_000;
export const silentOwnerMs = 20_000;
const takeOverRounds = 200;
const retryMs = 5;
const noLocks = ["ENOLCK", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL"];

export interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly bootId: string;
  readonly pidNamespace: string;
  /** Clock ticks after boot at which the process started: tells two processes with one pid apart. */
  readonly startTicks: string;
  readonly since: string;
}

/** The kernel's locks: NativeBinding's lockFile and unlockFile. */
export interface KernelLocks {
  lockFile(path: string): number;
  unlockFile(handle: number): boolean;
}

export class OwnerLock {
  readonly #path: string;
  readonly #text: string;
  readonly #clock: Clock;
  readonly #unlock: (() => void) | undefined;
  #timer: Timer | undefined;
  #abandoned = false;

  private constructor(path: string, text: string, clock: Clock, unlock: (() => void) | undefined) {
    this.#path = path;
    this.#text = text;
    this.#clock = clock;
    this.#unlock = unlock;
    if (unlock === undefined) this.#renewLater();
  }

  /** Takes the lock of `directory`, or throws AdapterError KVFERRY_ADAPTER_OWNED that names the owner. */
  static async take(directory: string, adapter: string, clock: Clock, kernel: KernelLocks): Promise<OwnerLock> {
    const path = join(directory, ownerLockName);
    const text = `${JSON.stringify(thisProcess(clock))}\n`;
    const handle = kernel.lockFile(path);
    if (handle > 0) {
      await writeFile(path, text);
      return new OwnerLock(path, text, clock, () => kernel.unlockFile(handle));
    }
    const errno = getSystemErrorName(handle);
    if (errno === "EAGAIN") throw ownedError(adapter, directory, (await readOwner(directory))?.owner);
    if (!noLocks.includes(errno)) throw Object.assign(new Error(`${errno} from locking ${path}`), { code: errno });
    return this.#takeByFile(directory, adapter, clock, text);
  }

  static async #takeByFile(directory: string, adapter: string, clock: Clock, text: string): Promise<OwnerLock> {
    const path = join(directory, ownerLockName);
    for (let round = 0; round < takeOverRounds; round++) {
      if (await createExclusively(path, text)) return new OwnerLock(path, text, clock, undefined);
      const held = await readOwner(directory);
      if (held === undefined) continue;
      // An empty file is what lockFile made before it was told that there are no locks here, or what a kernel-locked owner left.
      if (held.text !== "" && (await isAlive(held.owner, path, clock))) throw ownedError(adapter, directory, held.owner);
      if (await replaceDead(path, held.text, text, clock)) return new OwnerLock(path, text, clock, undefined);
      await sleep(clock, retryMs);
    }
    throw new AdapterError(adapter, `${path} changes hands too fast: several processes want this directory`, { code: "KVFERRY_ADAPTER_OWNED", retryable: true });
  }

  /** Whether the file is still ours: false when the directory was replaced. */
  async held(): Promise<boolean> {
    return (await readText(this.#path)) === this.#text;
  }

  /** Lets go of a lock whose directory is gone. */
  abandon(): void {
    if (this.#abandoned) return;
    this.#abandoned = true;
    this.#timer?.cancel();
    this.#unlock?.();
  }

  async release(): Promise<void> {
    if (this.#abandoned) return;
    // A locked file is emptied and stays: to unlink it would let two processes lock two files of one name.
    if (this.#unlock !== undefined && (await this.held())) await truncate(this.#path).catch(() => undefined);
    this.abandon();
    if (this.#unlock === undefined && (await this.held())) await unlink(this.#path);
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
  if (text === "") return { owner: undefined, text };
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

/**
 * Puts our text in the place of a dead owner's. Of all who want that, one gets to make the claim, a second link to the dead owner's file:
 * what the link holds is what was in place when it was made, and nobody else replaces that text while the link is there.
 */
async function replaceDead(path: string, deadText: string, text: string, clock: Clock): Promise<boolean> {
  const claim = `${path}.claim.${createHash("sha256").update(deadText).digest("hex").slice(0, 16)}`;
  try {
    await link(path, claim);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return false;
    if (code !== "EEXIST") throw error;
    // Left by a taker that died in between: a link's own time is that of its making.
    const found = await stat(claim).catch(() => undefined);
    if (found !== undefined && clock.wallMs() - found.ctimeMs > silentOwnerMs) await unlink(claim).catch(() => undefined);
    return false;
  }
  try {
    if ((await readText(claim)) !== deadText) return false;
    const own = `${path}.${process.pid}.${process.hrtime.bigint()}`;
    await createExclusively(own, text);
    await rename(own, path);
    return true;
  } finally {
    await unlink(claim);
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

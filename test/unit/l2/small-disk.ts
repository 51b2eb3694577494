import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file system of its own, as small as asked for. */
export class SmallDisk {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Mounts a tmpfs; a text instead when this host lets us not. */
  static mount(options: string): SmallDisk | string {
    const path = mkdtempSync(join(tmpdir(), "kvferry-disk-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path], { stdio: "pipe" });
      return new SmallDisk(path);
    } catch (error) {
      rmSync(path, { recursive: true });
      return `no small disk can be mounted here: ${(error as Error).message.split("\n")[0]}`;
    }
  }

  remount(options: string): void {
    execFileSync("mount", ["-o", `remount,${options}`, this.path]);
  }

  unmount(): void {
    execFileSync("umount", ["-l", this.path]);
    rmSync(this.path, { recursive: true });
  }
}

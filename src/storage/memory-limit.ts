import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { dirname, join } from "node:path";

import { formatBytes, GiB } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";

/** Text of a file of the kernel's, or undefined when it is not there. */
export type KernelFile = (path: string) => string | undefined;

const membershipFile = "/proc/self/cgroup";
const cgroupRoot = "/sys/fs/cgroup";

/** Bytes this process may use: the smallest limit of its cgroup, of that one's parents and of the machine. */
export function memoryLimitBytes(read: KernelFile = readKernelFile, machineBytes: number = totalmem()): number {
  let smallest = machineBytes;
  for (const file of limitFiles(read(membershipFile) ?? "")) {
    // "max" (v2) and numbers near 2^63 (v1) mean no limit.
    const limit = Number(read(file)?.trim());
    if (Number.isFinite(limit) && limit > 0) smallest = Math.min(smallest, limit);
  }
  return smallest;
}

/** Files with the limits that hold for a process whose /proc/self/cgroup says `membership`. */
function limitFiles(membership: string): string[] {
  // In a container the root as mounted is the container's own cgroup, whatever the path says.
  const files = new Set([join(cgroupRoot, "memory.max"), join(cgroupRoot, "memory", "memory.limit_in_bytes")]);
  for (const line of membership.split("\n")) {
    const parts = /^\d+:([^:]*):(\/.*)$/.exec(line);
    if (parts === null) continue;
    const [, controllers, path] = parts;
    if (controllers === "") for (const folder of upTo(path)) files.add(join(cgroupRoot, folder, "memory.max"));
    else if (controllers.split(",").includes("memory")) for (const folder of upTo(path)) files.add(join(cgroupRoot, "memory", folder, "memory.limit_in_bytes"));
  }
  return [...files];
}

/** A path and its parents, the root left out. */
function upTo(path: string): string[] {
  const folders: string[] = [];
  // A process outside the cgroup namespace's root is at "/../..": nothing there is ours to read.
  for (let folder = path.includes("..") ? "/" : path; folder !== "/"; folder = dirname(folder)) folders.push(folder);
  return folders;
}

function readKernelFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The other cgroup version, or no cgroup at all: then this file limits nothing.
    return undefined;
  }
}

/** Largest L1 on a host with this limit: the rest of the process keeps the larger of 2 GiB and 10 %. */
export function largestL1Bytes(limitBytes: number): number {
  // A host with hardly any memory still runs a small L1: the 2 GiB are for hosts that have them.
  return limitBytes - (limitBytes >= 4 * GiB ? Math.max(2 * GiB, 0.1 * limitBytes) : 0.5 * limitBytes);
}

/** Refuses an L1 that would leave the rest of the process too little. */
export function checkMemoryLimit(sizeBytes: number, limitBytes: number): void {
  const largestBytes = largestL1Bytes(limitBytes);
  if (sizeBytes > largestBytes)
    throw new ConfigError(
      "l1.sizeBytes",
      `l1.sizeBytes must be at most ${formatBytes(largestBytes)} here (memory limit ${formatBytes(limitBytes)} less ${formatBytes(limitBytes - largestBytes)} for everything else), got ${formatBytes(sizeBytes)}`,
    );
}

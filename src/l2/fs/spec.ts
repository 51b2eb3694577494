import { integerFrom, defineAdapterType, evictionSchema, flag, nonNegativeNumber, numberBetween, text } from "../spec.ts";
import { openFsAdapter } from "./open.ts";

/** LMCache's `fs` fields, the limits of `fs_native`, and what keeps a disk from filling. */
export const fsAdapter = defineAdapterType({
  type: "fs",
  summary: "one checksummed file per object in a directory: objects outlive the process",
  fields: {
    base_path: text("Directory; made when it is not there. One process owns it at a time"),
    relative_tmp_dir: text("Accepted for LMCache's sake; temporary files lie in tmp/").optional(),
    read_ahead_size: integerFrom(1, "Accepted for LMCache's sake; whole objects are read at once").optional(),
    use_odirect: flag("O_DIRECT; left out: wherever the file system takes it").optional(),
    fsync: flag("An object counts as stored only when it would survive a power loss").default(false),
    max_size_gb: nonNegativeNumber("Most GiB of object files; 0 or left out: only the free space limits").optional(),
    max_capacity_gb: nonNegativeNumber("Another name of max_size_gb (LMCache's fs_native)").optional(),
    max_objects: integerFrom(1, "Most objects").optional(),
    min_free_gb: nonNegativeNumber("GiB of the file system that stay free; the larger of this and min_free_percent rules").default(20),
    min_free_percent: numberBetween(0, 100, "Percent of the file system that stay free").default(10),
    min_free_inodes_percent: numberBetween(0, 100, "Percent of the file system's inodes that stay free").default(5),
    eviction: evictionSchema.optional(),
  },
  check(spec, refuse) {
    if (spec.shared) refuse("shared", "must be false, got true: a directory has one owner at a time");
    if (!spec.persist_enabled) refuse("persist_enabled", "must be true, got false: what fs stores outlives the process");
    const temporary = spec.relative_tmp_dir;
    if (temporary !== undefined && (temporary.startsWith("/") || temporary.split("/").includes("..")))
      refuse("relative_tmp_dir", `must be a relative path without "..", got ${JSON.stringify(temporary)}`);
    if (spec.max_size_gb !== undefined && spec.max_capacity_gb !== undefined && spec.max_size_gb !== spec.max_capacity_gb)
      refuse("max_capacity_gb", `must equal max_size_gb (${spec.max_size_gb}) or be left out, got ${spec.max_capacity_gb}`);
    return spec;
  },
  open: openFsAdapter,
});

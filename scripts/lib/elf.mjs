// Reads what matters of an ELF shared object (64-bit, little-endian) without binutils: needed libraries, required symbol versions,
// exported symbols, machine, and whether it is stripped.
import { readFileSync } from "node:fs";

const machines = { 62: "x64", 183: "arm64" };

export function readElf(path) {
  const file = readFileSync(path);
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) throw new Error(`${path} is no 64-bit little-endian ELF file`);
  const number = (offset) => Number(file.readBigUInt64LE(offset));
  const sectionOffset = number(0x28);
  const sectionSize = file.readUInt16LE(0x3a);
  const sections = Array.from({ length: file.readUInt16LE(0x3c) }, (_, index) => {
    const at = sectionOffset + index * sectionSize;
    return { name: file.readUInt32LE(at), type: file.readUInt32LE(at + 4), offset: number(at + 0x18), size: number(at + 0x20), link: file.readUInt32LE(at + 0x28), info: file.readUInt32LE(at + 0x2c) };
  });
  const text = (section, offset) => {
    const start = section.offset + offset;
    return file.toString("latin1", start, file.indexOf(0, start));
  };
  const names = sections[file.readUInt16LE(0x3e)];
  const byType = (type) => sections.find((section) => section.type === type);

  const dynamic = byType(6);
  const needed = [];
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16)
    if (number(at) === 1) needed.push(text(sections[dynamic.link], number(at + 8)));

  // Version needs (SHT_GNU_verneed): one record per library, each with a chain of versions.
  const versions = [];
  const verneed = byType(0x6ffffffe);
  for (let at = verneed?.offset, count = verneed?.info ?? 0; count > 0; count -= 1) {
    for (let aux = at + file.readUInt32LE(at + 8), left = file.readUInt16LE(at + 2); left > 0; left -= 1) {
      versions.push(text(sections[verneed.link], file.readUInt32LE(aux + 8)));
      aux += file.readUInt32LE(aux + 12);
    }
    at += file.readUInt32LE(at + 12);
  }

  // Dynamic symbols that are defined here, global or weak: what other objects can see.
  const symbols = byType(11);
  const exported = [];
  for (let at = symbols.offset + 24; at < symbols.offset + symbols.size; at += 24)
    if (file[at + 4] >> 4 !== 0 && file.readUInt16LE(at + 6) !== 0 && file.readUInt16LE(at + 6) < 0xff00) exported.push(text(sections[symbols.link], file.readUInt32LE(at)));

  return {
    machine: machines[file.readUInt16LE(0x12)] ?? `machine ${file.readUInt16LE(0x12)}`,
    needed,
    versions,
    exported: exported.sort(),
    stripped: byType(2) === undefined && !sections.some((section) => text(names, section.name).startsWith(".debug_")),
    bytes: file.length,
  };
}

/** Every rule that a prebuild breaks, as sentences; empty when it may ship. */
export function prebuildFaults(path, { arch, libc, glibcMax = "2.28" }) {
  const elf = readElf(path);
  const faults = [];
  if (elf.machine !== arch) faults.push(`is for ${elf.machine}, not ${arch}`);
  const allowed = libc === "musl" ? /^(libc\.so|libc\.musl-\w+\.so\.1|ld-musl-\w+\.so\.1)$/ : /^(lib(c|m|dl|rt|pthread)\.so\.\d+|ld-linux-(x86-64|aarch64)\.so\.\d)$/;
  for (const library of elf.needed) if (!allowed.test(library)) faults.push(`needs ${library}`);
  for (const version of elf.versions) {
    const glibc = /^GLIBC_(\d[\d.]*)$/.exec(version)?.[1];
    if (glibc === undefined || libc === "musl") faults.push(`needs the symbol version ${version}`);
    else if (glibc.localeCompare(glibcMax, undefined, { numeric: true }) > 0) faults.push(`needs glibc ${glibc}, newer than ${glibcMax}`);
  }
  const expected = ["napi_register_module_v1", "node_api_module_get_api_version_v1"];
  if (elf.exported.join() !== expected.join()) faults.push(`exports ${elf.exported.join(", ") || "nothing"} instead of ${expected.join(", ")}`);
  if (!elf.stripped) faults.push("is not stripped");
  if (elf.bytes > 4 * 1024 * 1024) faults.push(`has ${elf.bytes} bytes, more than 4 MiB`);
  return faults;
}

/** What a release holds a binary for, and how Zig calls it. */
export const targets = {
  "linux-x64-glibc": { arch: "x64", libc: "glibc", zig: "x86_64-linux-gnu.2.28", processor: "x86_64" },
  "linux-x64-musl": { arch: "x64", libc: "musl", zig: "x86_64-linux-musl", processor: "x86_64" },
  "linux-arm64-glibc": { arch: "arm64", libc: "glibc", zig: "aarch64-linux-gnu.2.28", processor: "aarch64" },
};

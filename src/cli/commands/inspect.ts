import { Command } from "commander";

import { formatBytes } from "../../base/bytes.ts";
import { AdapterError } from "../../base/errors.ts";
import { inspectPath, type InspectReport } from "../../l2/inspect.ts";
import { NativeRuntime } from "../../native/runtime.ts";
import { formatCount, table } from "../format.ts";
import { signalExitCodes, type StopSignal, type Terminal } from "../terminal.ts";
import { exitCodes, UsageError } from "../usage.ts";

const helpText = `
Reads only: it takes no lock and works on a directory that a live process owns. Every object's header, length, key and checksum is
verified. Exit code: 0 when everything is intact, 1 when anything is damaged, 2 when PATH is not one of ours.`;

/** Damaged and foreign files that are named one by one; --json names all. */
const namedMax = 20;

export function inspectCommand(terminal: Terminal, finish: (exitCode: number) => void): Command {
  return new Command("inspect")
    .summary("what lies in an L2 directory or object file, and whether it is intact")
    .description("Read an fs adapter's directory, or one object file, and verify every checksum. Changes nothing.")
    .argument("<path>", "directory given as base_path, or one object file")
    .option("--json", "print one JSON object")
    .addHelpText("after", helpText)
    .action(async (path: string, flags: { readonly json?: boolean }) => {
      const runtime = new NativeRuntime();
      const stop = new AbortController();
      const forgetSignals = terminal.onSignal((signal) => stop.abort(signal));
      try {
        const report = await inspectPath(path, runtime, { signal: stop.signal, onProgress: (files) => terminal.progress(`${formatCount(files)} files read`) });
        terminal.progress("");
        terminal.out(flags.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : readable(report));
        finish(report.intact ? exitCodes.ok : exitCodes.failed);
      } catch (error) {
        if (stop.signal.aborted) return finish(signalExitCodes[stop.signal.reason as StopSignal]);
        throw error instanceof AdapterError ? new UsageError(error.message.replace(/^inspect: /, "")) : error;
      } finally {
        forgetSignals();
        await runtime.close();
      }
    });
}

function readable(report: InspectReport): string {
  return report.object === null ? ofDirectory(report) : ofFile(report);
}

function ofFile(report: InspectReport): string {
  const { object } = report;
  if (object === null) return "";
  if (!object.intact) return table(report.path, [["damaged", object.problem]]);
  return table(report.path, [
    ["intact", "header, key, length and checksum agree"],
    ["payload", `${formatBytes(object.payloadBytes)}, crc32c ${object.payloadCrc32c.toString(16).padStart(8, "0")}`],
    ["chunk hash", object.chunkHashHex],
    ["rank, group", `${object.kvRank}, ${object.objectGroupId}`],
    ["namespace", object.namespaceDescription],
    ["format", `version ${object.formatVersion}, written ${new Date(object.writtenAtMs).toISOString()}`],
  ]);
}

function ofDirectory(report: InspectReport): string {
  const { owner, damaged, foreignFiles } = report;
  const rows: [string, string][] = [
    ["format", `version ${report.version}, ${report.uuid}`],
    ["owner", owner === null ? "none" : `process ${owner.pid} on ${owner.host} since ${owner.since}${owner.alive ? "" : " (gone; the next owner takes over)"}`],
    ["intact", `${formatCount(report.objects)} objects, ${formatBytes(report.payloadBytes)} of payload in ${formatBytes(report.fileBytes)} of files`],
    ["damaged", damaged.length === 0 ? "none" : formatCount(damaged.length)],
  ];
  if (report.temporaryFiles > 0) rows.push(["temporary", `${formatCount(report.temporaryFiles)} files being written, or left by a writer that died`]);
  if (foreignFiles.length > 0) rows.push(["foreign", `${formatCount(foreignFiles.length)} files that are not kvferry's: ${named(foreignFiles)}`]);
  let text = table(report.path, rows);
  for (const { path, problem } of damaged.slice(0, namedMax)) text += `    ${path}: ${problem}\n`;
  if (damaged.length > namedMax) text += `    and ${formatCount(damaged.length - namedMax)} more; --json names all\n`;
  for (const space of report.namespaces) {
    const salt = space.cacheSalt === "" ? "" : `, salt ${space.cacheSalt}`;
    text += `  model ${space.modelName}${salt}: ${formatCount(space.objects)} objects, ${formatBytes(space.payloadBytes)} (image ${space.fingerprint})\n`;
  }
  return text;
}

function named(paths: readonly string[]): string {
  return paths.length <= 3 ? paths.join(", ") : `${paths.slice(0, 3).join(", ")}, ...`;
}

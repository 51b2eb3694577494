/**
 * Error classes of kvferry. Codes are stable within a major version, messages are not; match on `code`.
 * Every code has a heading in docs/errors.md. Misuse of the API (a programming mistake) is a plain TypeError or
 * RangeError without a code, because nobody should handle it. A cache miss is a value, never an error.
 */
export type KvferryErrorCode =
  | "KVFERRY_CONFIG"
  | "KVFERRY_CLOSED"
  | "KVFERRY_CAPACITY_TIMEOUT"
  | "KVFERRY_CAPACITY_QUEUE_FULL"
  | "KVFERRY_OBJECT_TOO_LARGE"
  | "KVFERRY_STATE"
  | "KVFERRY_STALE_HANDLE"
  | "KVFERRY_ADAPTER"
  | "KVFERRY_ADAPTER_OWNED"
  | "KVFERRY_ADAPTER_VERSION"
  | "KVFERRY_PLUGIN"
  | "KVFERRY_CUDA"
  | "KVFERRY_PROTOCOL"
  | "KVFERRY_NATIVE_MISSING"
  | "KVFERRY_NATIVE"
  | "KVFERRY_TRACE"
  | "ABORT_ERR";

export interface KvferryErrorOptions {
  readonly cause?: unknown;
  /** True when the same call may succeed later without any change by the caller. */
  readonly retryable?: boolean;
}

/** Base of every error that kvferry throws on purpose. */
export class KvferryError extends Error {
  readonly code: KvferryErrorCode;
  readonly retryable: boolean;

  constructor(code: KvferryErrorCode, message: string, options: KvferryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** A configuration was refused, as a whole, before anything was opened. */
export class ConfigError extends KvferryError {
  /** Dotted path or flag of the offending field, for example `l2.adapters[0].max_size_gb`. */
  readonly field: string;

  constructor(field: string, message: string, options: KvferryErrorOptions = {}) {
    super("KVFERRY_CONFIG", message, options);
    this.field = field;
  }
}

/** The object was closed, or is closing. */
export class ClosedError extends KvferryError {
  constructor(what: string) {
    super("KVFERRY_CLOSED", `${what} is closed`);
  }
}

/** No room: the wait ran out, the queue is full, or the object can never fit. */
export class CapacityError extends KvferryError {
  constructor(
    code: "KVFERRY_CAPACITY_TIMEOUT" | "KVFERRY_CAPACITY_QUEUE_FULL" | "KVFERRY_OBJECT_TOO_LARGE",
    message: string,
  ) {
    super(code, message, { retryable: code !== "KVFERRY_OBJECT_TOO_LARGE" });
  }
}

/** The call does not fit the state of the object: committed twice, released twice, a stale handle. */
export class StateError extends KvferryError {
  constructor(message: string, code: "KVFERRY_STATE" | "KVFERRY_STALE_HANDLE" = "KVFERRY_STATE") {
    super(code, message);
  }
}

/** An L2 adapter could not be opened, or broke its contract. */
export class AdapterError extends KvferryError {
  readonly adapter: string;

  constructor(
    adapter: string,
    message: string,
    options: KvferryErrorOptions & { readonly code?: "KVFERRY_ADAPTER" | "KVFERRY_ADAPTER_OWNED" | "KVFERRY_ADAPTER_VERSION" } = {},
  ) {
    super(options.code ?? "KVFERRY_ADAPTER", `${adapter}: ${message}`, options);
    this.adapter = adapter;
  }
}

/** A user's module could not be loaded or does not export what it should. */
export class PluginError extends KvferryError {
  constructor(message: string, options: KvferryErrorOptions = {}) {
    super("KVFERRY_PLUGIN", message, options);
  }
}

/** The native addon is missing, does not fit this host, or refused a call. */
export class NativeError extends KvferryError {
  constructor(code: "KVFERRY_NATIVE_MISSING" | "KVFERRY_NATIVE", message: string, options: KvferryErrorOptions = {}) {
    super(code, message, options);
  }
}

/** A trace file is broken; the message names file and line. */
export class TraceError extends KvferryError {
  readonly line: number;

  constructor(line: number, message: string, options: KvferryErrorOptions = {}) {
    super("KVFERRY_TRACE", message, options);
    this.line = line;
  }
}

/** The caller's AbortSignal fired. `cause` is the signal's reason. */
export class AbortError extends KvferryError {
  constructor(cause?: unknown) {
    super("ABORT_ERR", "The operation was aborted", { cause });
    this.name = "AbortError";
  }
}

/** The text of any thrown value, for messages and logs. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

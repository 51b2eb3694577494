export { Admission, type AdmissionRequest } from "./admission.ts";
export type { L1Audit } from "./audit.ts";
export {
  CommitStatus,
  L1Manager,
  noSlot,
  WriteStatus,
  type L1Counts,
  type L1Observer,
  type ReserveRequest,
  type WriteGrant,
} from "./l1-manager.ts";
export { ClassBytes, type L1Shares } from "./class-bytes.ts";
export { ReadLease } from "./lease.ts";
export { AdmissionClass, ObjectState } from "./object-table.ts";
export { PagedUint32Array } from "./paged-array.ts";

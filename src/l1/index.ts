export { Admission, type AdmissionRequest } from "./admission.ts";
export type { L1Audit } from "./audit.ts";
export { L1Manager, noSlot } from "./l1-manager.ts";
export { ClassBytes, type L1Shares } from "./class-bytes.ts";
export { ReadLease } from "./lease.ts";
export type { L1Counts, L1Observer } from "./observer.ts";
export { AdmissionClass, ObjectState } from "./object-table.ts";
export { CommitStatus, pickRefs, WriteStatus, type ReserveRequest, type WriteGrant } from "./reservation.ts";

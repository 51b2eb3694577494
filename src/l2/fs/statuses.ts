/** What the addon's answers mean to a caller. */
import { ItemStatus } from "../../native/binding.ts";
import { LoadStatus, StoreStatus } from "../contract.ts";
import { errnoName } from "./problems.ts";

export function storeStatusOf(status: number): StoreStatus {
  if (status === ItemStatus.ok) return StoreStatus.stored;
  if (status === ItemStatus.alreadyPresent) return StoreStatus.alreadyPresent;
  if (isFull(status)) return StoreStatus.skippedNoRoom;
  return isRefusal(status) ? StoreStatus.refused : StoreStatus.failed;
}

export function loadStatusOf(status: number): LoadStatus {
  if (status === ItemStatus.ok) return LoadStatus.loaded;
  if (status === ItemStatus.missing) return LoadStatus.missing;
  if (status === ItemStatus.corrupt) return LoadStatus.corrupt;
  return isDamage(status) ? LoadStatus.foreign : LoadStatus.failed;
}

/** The file is there and is not this key's intact object. */
export function isDamage(status: number): boolean {
  return status === ItemStatus.corrupt || status === ItemStatus.foreignKey || status === ItemStatus.otherLayout;
}

export function damageKind(status: number): string {
  return status === ItemStatus.corrupt ? "corrupt" : status === ItemStatus.foreignKey ? "foreign_key" : "other_layout";
}

export function isFull(status: number): boolean {
  return status < 0 && ["ENOSPC", "EDQUOT"].includes(errnoName(status));
}

/** Trying again without a change by a person will not help. */
function isRefusal(status: number): boolean {
  return status < 0 && ["EROFS", "EACCES", "EPERM"].includes(errnoName(status));
}

/**
 * Why there is no report although there might be one:
 * - `unreachable`: no connection, or it broke.
 * - `timeout`: one request had no whole answer in time.
 * - `deadline`: the scan had no report in time.
 * - `busy`: too many scans wait already.
 * - `closing`: the mirror is being stopped.
 * - `credential`: the scanner's login to the mirror is none that adapters can read.
 * - `incapable`: the adapter scans no images, or makes no report that can be read here.
 * - `unauthorized`: the adapter does not take the mirror's login.
 * - `redirected`: it sends the mirror elsewhere, where nobody follows.
 * - `failed`: it says that it failed.
 * - `too-large`: more bytes, findings or nesting than are read.
 * - `wrong-type`, `malformed`: no report.
 * - `other-subject`: a report about something else, or about nothing.
 */
export type ScanFaultCode =
  | 'unreachable'
  | 'timeout'
  | 'deadline'
  | 'busy'
  | 'closing'
  | 'credential'
  | 'incapable'
  | 'unauthorized'
  | 'redirected'
  | 'failed'
  | 'too-large'
  | 'wrong-type'
  | 'malformed'
  | 'other-subject';

/** Ends a scan with an outcome of the kind `error`. */
export class ScanFault extends Error {
  override readonly name = 'ScanFault';
  readonly code: ScanFaultCode;

  constructor(code: ScanFaultCode, reason: string) {
    super(reason);
    this.code = code;
  }
}

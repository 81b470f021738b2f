import type { ScanSubject } from '../../../src/admission/vulnerabilities/report.ts';

/** How one adapter speaks Harbor's scanner API. */
export interface AdapterForm {
  readonly name: string;
  readonly metadata: object;
  /** What its `Accept` must be, byte for byte. */
  readonly reportType: string;
  /** The text of a report as the adapter writes it. */
  readonly report: (subject: ScanSubject) => string;
  /** Of an image in which it finds nothing. */
  readonly cleanReport: (subject: ScanSubject) => string;
  /** Why it refuses a request for a scan. */
  readonly refusal: (
    request: AdapterRequest,
  ) => { readonly status: number; readonly message: string } | undefined;
  /** The type of a report that is asked for otherwise is refused with this status. */
  readonly wrongTypeStatus: number;
  /** The content type of its answer to a scan. */
  readonly scanResponseType: string;
  /** Headers of "not ready yet". */
  readonly pending: (path: string) => Readonly<Record<string, string>>;
}

export interface AdapterRequest {
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: {
    readonly registry?: { readonly url?: string; readonly authorization?: string };
    readonly artifact?: {
      readonly repository?: string;
      readonly digest?: string;
      readonly mime_type?: string;
    };
    readonly enabled_capabilities?: readonly {
      readonly type?: string;
      readonly produces_mime_types?: readonly string[];
      readonly parameters?: { readonly sbom_media_types?: readonly string[] };
    }[];
  };
}

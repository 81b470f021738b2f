import type { LookupFunction } from 'node:net';
import { readSecret } from '../config/credentials-schema.ts';
import type { Config } from '../config/config.ts';
import { HeldFiles } from '../config/held-files.ts';
import { parseMoment } from '../config/moment.ts';
import { pathAlias } from '../config/registries.ts';
import type { Attachments } from '../mirror/mirror.ts';
import type { Authorities } from '../net/authorities.ts';
import { oneHost } from '../net/one-host.ts';
import type { Timing } from '../net/timing.ts';
import { Transport } from '../net/transport.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { Clock } from '../time/clock.ts';
import { Attestations } from './attestations.ts';
import type { Condition } from './condition.ts';
import { FewVulnerabilities } from './few-vulnerabilities.ts';
import { SbomScans } from './sbom-scans.ts';
import { SignedBy } from './signed-by.ts';
import type { Trust } from './trust.ts';
import type { Signer } from './verdict.ts';
import type { Verdicts } from './verdicts.ts';
import type { VulnerabilityException } from './vulnerabilities/judgement.ts';
import { Scanner, type ScannerParts } from './vulnerabilities/scanner.ts';
import { ScannerAdapter } from './vulnerabilities/scanner-adapter.ts';
import { Scans } from './vulnerabilities/scans.ts';
import { VexFiles } from './vulnerabilities/vex-files.ts';

type AdmissionConfig = NonNullable<Config['admission']>;
type ScannerConfig = NonNullable<AdmissionConfig['scanner']>;
export type VulnerabilityRule = Pick<AdmissionConfig['rules'][number], 'exceptions'> & {
  readonly vulnerabilities: NonNullable<AdmissionConfig['rules'][number]['vulnerabilities']>;
};

/** How scans are asked for, kept and told of. */
export interface ScanningParts {
  readonly attachments: () => Attachments;
  readonly catalog: Pick<Catalog, 'scans'>;
  /** With which the scanner comes in for one image, as a header `Authorization`. */
  readonly passes: () => {
    readonly issue: ScannerParts['issue'];
  };
  readonly timing: Timing;
  readonly authorities: Authorities;
  readonly lookup?: LookupFunction | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'admission'>;
}

/** Whose attestations count for a rule. */
export interface AttestingParts {
  readonly trust: Trust;
  readonly signers: readonly Signer[];
  readonly verdicts: Verdicts;
}

/** Of attested scans where no scanner is configured. */
const MAX_AGE_MS = 86_400_000;

/** What rules about vulnerabilities share: the scanner, if there is one. */
export class Scanning {
  readonly #parts: ScanningParts;
  readonly #config: ScannerConfig | undefined;
  readonly #scanner: Scanner | undefined;
  readonly #transport: Transport | undefined;

  constructor(config: ScannerConfig | undefined, parts: ScanningParts) {
    this.#parts = parts;
    this.#config = config;
    if (config?.adapter === undefined || config.registry === undefined) return;
    const { adapter: url, registry: registryUrl, maxAge: maxAgeMs } = config;
    const { clock, timing, attachments } = parts;
    this.#transport = openTransport(url, config, parts);
    const login = loginOf(config, parts.log);
    const adapter = new ScannerAdapter({ url, transport: this.#transport, login });
    const { scanPauseMs: pauseMs } = timing;
    const scans = new Scans({ adapter, registryUrl, clock, pauseMs });
    this.#scanner = new Scanner({
      ...parts,
      scans,
      kept: parts.catalog.scans,
      issue: async (...asked) => parts.passes().issue(...asked),
      nameOf: ({ upstream, repository }) => `${pathAlias(upstream)}/${repository}`,
      isHeld: async (target, digest) => attachments().isHeld(target, digest),
      maxAgeMs,
    });
    this.#scanner.start();
  }

  /** What a rule asks. */
  condition(
    { vulnerabilities, exceptions = [] }: VulnerabilityRule,
    attesting: AttestingParts,
  ): Condition {
    const { attachments, clock, log } = this.#parts;
    const { atMost, fixableOnly, vex, ...choices } = vulnerabilities;
    const scanner = this.#scanner;
    const about = { ...attesting, attachments, clock, log };
    const attestations = new Attestations(about);
    const signed = new SignedBy({ ...about, isTimed: false });
    return new FewVulnerabilities({
      attachments,
      scanner,
      sboms: scanner && new SbomScans({ attachments, attestations, signed, scanner }),
      attestations,
      files: new VexFiles(vex, log),
      policy: { atMost, fixableOnly, unknown: 'unknown', exceptions: exceptions.map(asException) },
      choices,
      maxAgeMs: this.#config?.maxAge ?? MAX_AGE_MS,
      clock,
    });
  }

  /** Ends what runs. */
  async close(): Promise<void> {
    await this.#scanner?.close();
    await this.#transport?.close();
  }
}

function asException(
  exception: NonNullable<VulnerabilityRule['exceptions']>[number],
): VulnerabilityException {
  const { digest, until, ...rest } = exception;
  return {
    ...rest,
    until: parseMoment(until),
    ...(digest !== undefined && { digest: digest as Digest }),
  };
}

/** It stands at the site and is asked also when the upstreams are not; no proxy is in between. */
function openTransport(url: string, { ca }: ScannerConfig, parts: ScanningParts): Transport {
  const { timing, authorities, lookup } = parts;
  return new Transport({
    timing,
    authorities,
    lookup,
    caKey: 'admission.scanner.ca',
    config: oneHost({ name: 'scanner', url, ca }),
  });
}

function loginOf({ token }: ScannerConfig, log: Log): (() => Record<string, string>) | undefined {
  if (!token) return undefined;
  const { text, file } = token;
  const held = new HeldFiles({
    paths: file === undefined ? [] : [file],
    value: text,
    read: () => (file === undefined ? text : readSecret('bearer', file)),
    failed: (reason) => log.warn({ reason }, 'the token for the scanner stays as it was'),
    renewed: () => log.info({}, 'the token for the scanner is read again'),
  });
  return () => ({ authorization: `Bearer ${held.current}` });
}

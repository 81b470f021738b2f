import type { UpstreamConfig } from '../../config/config.ts';
import type { Reference, Repository } from '../../oci/reference.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { PRIORITY } from '../demand.ts';
import type { Upstream } from '../upstream.ts';
import { failed, keyOf, ok, reasonOf, warning, type Outcome } from './finding.ts';

/** An image of an upstream to look for. */
export interface WantedImage {
  readonly repository: Repository;
  readonly reference: Reference;
}

export interface ImageCheckParts {
  readonly config: UpstreamConfig;
  readonly upstream: Upstream;
  /** The account that asks. */
  readonly label: string;
  readonly signal: AbortSignal;
}

/** A HEAD of the image's manifest, which costs no quota. */
export async function checkImage(
  { repository, reference }: WantedImage,
  { config, upstream, label, signal }: ImageCheckParts,
): Promise<Outcome> {
  const separator = reference.includes(':') ? '@' : ':';
  const who = config.credentials.length > 1 ? ` as ${label}` : '';
  const image = `${config.name}/${repository}${separator}${reference}${who}`;
  try {
    const head = await upstream.headManifest(repository, reference, {
      priority: PRIORITY.interactive,
      signal,
    });
    if (!head) {
      return failed(
        `${image} does not exist there (404)`,
        'check the name and the tag; some registries hide private images from those who may not pull them',
      );
    }
    return ok(`${image} is there${head.digest === undefined ? '' : `, ${head.digest}`}`);
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    return explain(error, { image, repository, config });
  }
}

function explain(
  error: UpstreamError,
  { image, repository, config }: { image: string; repository: string; config: UpstreamConfig },
): Outcome {
  const detail = `${image}: ${reasonOf(error, config.name)}`;
  const key = keyOf(config, 'credentials');
  switch (error.fault) {
    case 'unauthorized':
    case 'denied':
      return config.credentials.length > 0
        ? failed(
            detail,
            `give the account in ${key} the right to pull ${repository}, and check the name`,
          )
        : failed(detail, `check the name, and set ${key} if ${repository} is private`);
    case 'rate-limited':
      return warning(detail, `wait, or set ${key} of an account with a higher limit`);
    case 'bad-response':
      return failed(detail, 'a portal or proxy on the way may answer in place of the registry');
    case 'offline':
    case 'unreachable':
    case 'timeout':
    case 'failing':
      return failed(detail, `try later, and ask the operator of ${config.name}`);
  }
}

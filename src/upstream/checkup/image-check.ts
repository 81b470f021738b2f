import type { UpstreamConfig } from '../../config/config.ts';
import type { Reference, Repository } from '../../oci/reference.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { PRIORITY } from '../demand.ts';
import type { Upstream } from '../upstream.ts';
import { failed, keyOf, ok, reasonOf, warning, type Outcome } from './finding.ts';
import { TEXTS } from '../texts.ts';

/** An image that an upstream is asked for. */
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

/** A HEAD of the image's manifest, which costs no quota; a GET where the registry has no HEAD. */
export async function checkImage(
  { repository, reference }: WantedImage,
  { config, upstream, label, signal }: ImageCheckParts,
): Promise<Outcome> {
  const separator = reference.includes(':') ? '@' : ':';
  const who = config.credentials.length > 1 ? TEXTS.asAccount({ label }) : '';
  const image = `${config.name}/${repository}${separator}${reference}${who}`;
  try {
    const head = await upstream.headManifest(repository, reference, {
      priority: PRIORITY.interactive,
      signal,
    });
    if (!head) {
      return failed(TEXTS.imageMissing({ image }), TEXTS.checkImageName);
    }
    return ok(TEXTS.imageThere({ image, digest: `, ${head.digest}` }));
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    return explain(error, { image, repository, config });
  }
}

function explain(
  error: UpstreamError,
  { image, repository, config }: { image: string; repository: string; config: UpstreamConfig },
): Outcome {
  const detail = TEXTS.faultOf({ of: image, reason: reasonOf(error, config.name) });
  const key = keyOf(config, 'credentials');
  switch (error.fault) {
    case 'unauthorized':
    case 'denied':
      return config.credentials.length > 0
        ? failed(detail, TEXTS.giveRight({ key, repository }))
        : failed(detail, TEXTS.setIfPrivate({ key, repository }));
    case 'rate-limited':
      return warning(detail, TEXTS.waitOrSetAccount({ key }));
    case 'refused':
    case 'bad-response':
      return failed(detail, TEXTS.portalForRegistry);
    case 'offline':
    case 'unreachable':
    case 'timeout':
    case 'failing':
      return failed(detail, TEXTS.askOperator({ of: config.name }));
  }
}

import { TEXTS } from './texts.ts';

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export const MAX_REDIRECTS = 10;

export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status);
}

/**
 * Where a redirect leads, or why it leads nowhere. Registries send blobs to storage on other origins:
 * by http(s), and never from https to http. Whether that host may be dialled is the `DialGuard`'s.
 */
export function followRedirect(from: URL, location: string | undefined): URL | string {
  if (!location) return TEXTS.redirectWithoutLocation;
  if (!URL.canParse(location, from)) return TEXTS.redirectToNoUrl;
  const to = new URL(location, from);
  if (to.protocol !== 'https:' && to.protocol !== 'http:') {
    return TEXTS.redirectToProtocol({ protocol: to.protocol });
  }
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    return TEXTS.redirectToHttp({ host: to.host });
  }
  return to;
}

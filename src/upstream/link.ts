/**
 * The next page of a listing, as a path below the registry's `/v2/`; `undefined` at the end.
 * Registries behind a proxy write internal hosts into absolute links, so only path and query count.
 * @see https://www.rfc-editor.org/rfc/rfc8288
 */
export function nextPage(link: string | undefined, page: URL, base: URL): string | undefined {
  const match = /<([^>]*)>[^,]*;\s*rel="?next"?/i.exec(link ?? '');
  const address = match?.[1];
  if (address === undefined || !URL.canParse(address, page)) return undefined;
  const next = new URL(address, page);
  const start = next.pathname.indexOf('/v2/');
  if (start === -1) return undefined;
  const path = `${next.pathname.slice(start + '/v2/'.length)}${next.search}`;
  const rebased = URL.parse(path, base)?.href;
  return rebased?.startsWith(base.href) && rebased !== page.href ? path : undefined;
}

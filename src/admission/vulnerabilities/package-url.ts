/** A package URL, as far as images and their packages are found by it. */
export interface PackageUrl {
  readonly type: string;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly version: string | undefined;
  /** Where the registry is that it comes from: of an image its repository. */
  readonly repository: string | undefined;
}

/** The name of a package of these is not told apart by its namespace, which is the distribution. */
const DISTRIBUTIONS: ReadonlySet<string> = new Set(['deb', 'apk', 'rpm', 'alpm']);

/** @see https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst */
export function parsePackageUrl(text: string): PackageUrl | undefined {
  const match =
    /^pkg:\/*(?<type>[a-z][a-z\d.+-]*)\/(?<path>[^?#]+)(?:\?(?<query>[^#]*))?(?:#.*)?$/i.exec(text);
  const { type = '', path = '', query = '' } = match?.groups ?? {};
  // The version comes after the last `@`, which is encoded wherever else it stands.
  const at = path.lastIndexOf('@');
  const whole = at > path.lastIndexOf('/') ? path.slice(0, at) : path;
  try {
    const segments = whole.split('/').filter(Boolean).map(decodeURIComponent);
    const name = segments.pop();
    if (name === undefined) return undefined;
    const repository = new URLSearchParams(query).get('repository_url') ?? undefined;
    return {
      type: type.toLowerCase(),
      namespace: segments.join('/') || undefined,
      name,
      version: whole === path ? undefined : decodeURIComponent(path.slice(at + 1)),
      repository,
    };
  } catch {
    return undefined;
  }
}

/** What scanners call the package. */
export function packageNameOf({ type, namespace, name }: PackageUrl): string {
  if (namespace === undefined || DISTRIBUTIONS.has(type)) return name;
  return type === 'maven' ? `${namespace}:${name}` : `${namespace}/${name}`;
}

import type { Config } from './config.ts';
import { findGlob } from './glob.ts';
import { TEXTS } from './texts.ts';

type Access = NonNullable<Config['access']>;

/** Why nobody can ever be this. Which tokens there are stands in the store. */
export function whoFault(
  name: string,
  access: Access,
  users: readonly string[] | undefined,
): string | undefined {
  const [kind = '', issuer = ''] = name.split(':');
  switch (kind) {
    case 'user':
      return userFault(name, access, users);
    case 'group':
      return hasGroups(access) ? undefined : TEXTS.accessNoGroups;
    case 'k8s':
      return issuerFault(issuer, 'kubernetes', access);
    case 'oidc':
      return issuerFault(issuer, 'oidc', access);
    case 'cert':
      return 'certificates' in access ? undefined : TEXTS.accessNoKind({ key: 'certificates' });
    default:
      return undefined;
  }
}

function userFault(
  name: string,
  { htpasswd }: Access,
  users: readonly string[] | undefined,
): string | undefined {
  if (!htpasswd) return TEXTS.accessNoKind({ key: 'htpasswd' });
  const pattern = findGlob(name);
  if (!users || users.some((user) => pattern?.matches(`user:${user}`))) return undefined;
  return TEXTS.accessNoUser({ path: htpasswd.file });
}

/** What of the issuers matters here. */
interface Issuer {
  readonly name: string;
  readonly groups?: string;
}

type Issuers = Access & Readonly<Partial<Record<'oidc' | 'kubernetes', readonly Issuer[]>>>;

function issuerFault(
  glob: string,
  key: 'oidc' | 'kubernetes',
  access: Issuers,
): string | undefined {
  const names = (access[key] ?? []).map(({ name }) => name);
  if (names.length === 0) return TEXTS.accessNoKind({ key });
  const pattern = findGlob(glob);
  if (names.some((name) => pattern?.matches(name))) return undefined;
  return TEXTS.accessNoIssuer({ key, names: names.join(', ') });
}

function hasGroups({ oidc = [] }: Issuers): boolean {
  return oidc.some(({ groups }) => groups !== undefined);
}

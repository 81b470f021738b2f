import type { Config } from './config.ts';
import { findGlob, isGlob } from './glob.ts';
import { TEXTS } from './texts.ts';

type Access = NonNullable<Config['access']>;

/** Why nobody can ever be this. Which tokens there are stands in the store. */
export function whoFault(
  name: string,
  access: Access,
  users: readonly string[] | undefined,
): string | undefined {
  const [kind = ''] = name.split(':');
  switch (kind) {
    case 'user':
      return userFault(name, access, users);
    case 'group':
      return hasGroups(access) ? undefined : TEXTS.accessNoGroups;
    case 'k8s':
      return issuerFault(name, 'kubernetes', access);
    case 'oidc':
      return issuerFault(name, 'oidc', access);
    case 'cert':
      return access.certificates ? undefined : TEXTS.accessNoKind({ key: 'certificates' });
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

/** Names of issuers, and what stands behind them. */
const FORMS = {
  kubernetes: [/^k8s:[^:]+:[^:]+:[^:]+$/, 'k8s:CLUSTER:NAMESPACE:ACCOUNT'],
  oidc: [/^oidc:[^:]+:./, 'oidc:ISSUER:NAME'],
} as const;

function issuerFault(name: string, key: keyof typeof FORMS, access: Access): string | undefined {
  const [form, written] = FORMS[key];
  const [, glob = ''] = name.split(':');
  const names = (access[key] ?? []).map(({ name }) => name);
  if (names.length === 0) return TEXTS.accessNoKind({ key });
  const pattern = findGlob(glob);
  if (!names.some((issuer) => pattern?.matches(issuer))) {
    return TEXTS.accessNoIssuer({ key, names: names.join(', ') });
  }
  return isGlob(name) || form.test(name) ? undefined : TEXTS.accessWhoForm({ form: written });
}

function hasGroups({ oidc = [] }: Access): boolean {
  return oidc.some(({ groups }) => groups !== undefined);
}

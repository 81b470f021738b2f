/** Who asks, as rules name them. */
export interface Subject {
  /**
   * `user:alice`, `group:devs`, `token:ci`, `k8s:prod:team-a:builder`, `cert:…`, `oidc:corp:…`: the first
   * one says who it is, the others what it belongs to. None of who has shown nothing.
   */
  readonly names: readonly string[];
}

export const ANONYMOUS: Subject = { names: [] };

/**
 * Who stands in line, so that turns are fair: the subject, from wherever it comes; the address where nobody
 * has said who it is. No name of a subject is an address.
 */
export function inLine({
  subject: { names },
  address,
}: {
  readonly subject: Subject;
  readonly address: string | undefined;
}): string | undefined {
  return names[0] ?? address;
}

/** As logs tell of it. */
export function describeSubject({ names: [name = 'anonymous'] }: Subject): string {
  return name;
}

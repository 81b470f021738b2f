/** Who asks, as rules name them. */
export interface Subject {
  /**
   * `user:alice`, `group:devs`, `token:ci`, `k8s:prod:team-a:builder`, `cert:…`, `oidc:corp:…`: the first
   * one says who it is, the others what it belongs to. None of who has shown nothing.
   */
  readonly names: readonly string[];
}

export const ANONYMOUS: Subject = { names: [] };

/** As logs tell of it. */
export function describeSubject({ names: [name = 'anonymous'] }: Subject): string {
  return name;
}

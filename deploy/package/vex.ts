import statements from './vex.json' with { type: 'json' };

/**
 * What is known of a weakness in a package that is shipped, as CycloneDX writes it (`vulnerabilities`).
 * @see https://cyclonedx.org/docs/1.5/json/#vulnerabilities
 */
export interface Statement {
  /** Of the advisory: `GHSA-…`. */
  readonly id: string;
  /** `name@version`, each as in the list of components. */
  readonly affects: readonly { readonly ref: string }[];
  readonly analysis: {
    readonly state: 'not_affected' | 'exploitable' | 'in_triage' | 'resolved' | 'false_positive';
    readonly justification?: string;
    readonly detail: string;
  };
}

export const STATEMENTS: readonly Statement[] = statements;
